"""Fuzz the parsers, guided by which of their code an input reaches.

    ./bootstrap python runner/tests/fuzz --seconds 600 [--target NAME]
    ./bootstrap python runner/tests/fuzz FILE            an input again that was found

The first byte of an input says which parser it is for, the rest is what it is to read.
"""

import argparse
import sys
from pathlib import Path
from tempfile import mkdtemp

sys.path.append(str(Path(__file__).parents[3] / "tests"))

import atheris
from words import WORDS

with atheris.instrument_imports(include=["sagequeue"]):
    from targets import TARGETS

NAMES = sorted(TARGETS)


def one(data: bytes) -> None:
    """Have the parser read it that the first byte names."""
    if data:
        TARGETS[NAMES[data[0] % len(NAMES)]](data[1:])


def main() -> None:
    form = argparse.RawTextHelpFormatter
    command = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    command.add_argument("input", nargs="?", type=Path)
    command.add_argument("--seconds", type=int, default=60)
    command.add_argument("--target", choices=NAMES, help="only this parser")
    arguments = command.parse_args()
    if arguments.input:
        data = arguments.input.read_bytes()
        print(f"{NAMES[data[0] % len(NAMES)]} of {data[1:]!r}")
        one(data)
        return
    chosen = [arguments.target] if arguments.target else NAMES
    kept = Path(mkdtemp(prefix="sagequeue-fuzz-"))
    corpus = kept / "corpus"
    corpus.mkdir()
    for name in chosen:
        begin = bytes([NAMES.index(name)])
        for number, word in enumerate((b"", b"\n".join(WORDS), *WORDS)):
            (corpus / f"{name}-{number}").write_bytes(begin + word)
    words = kept / "words"
    words.write_text("".join('"{}"\n'.format("".join(f"\\x{b:02x}" for b in w)) for w in WORDS))
    print(f"{', '.join(chosen)}; an input that fails is left in {kept}", flush=True)

    def test(data: bytes) -> None:
        if arguments.target and data:
            data = bytes([NAMES.index(arguments.target)]) + data[1:]
        one(data)

    atheris.Setup(
        [sys.argv[0], f"-max_total_time={arguments.seconds}", f"-artifact_prefix={kept}/",
         f"-dict={words}", "-timeout=10", "-max_len=2000", "-verbosity=1", str(corpus)], test,
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
