"""What processes did to files, as the kernel saw it: strace's lines read into operations.

Nothing in the processes is patched; the shell's and the solver's writes are there as well.
"""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A leading ? is for names that only some architectures have.
_TRACED = (
    "?open,?creat,openat,write,pwrite64,writev,pwritev,?rename,?renameat,renameat2,?link,linkat,"
    "?symlink,symlinkat,?unlink,unlinkat,?mkdir,mkdirat,?rmdir,truncate,ftruncate,fsync,fdatasync,"
    "sync,syncfs,sendfile,copy_file_range,fallocate,?mknod,mknodat"
)
_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|\?)(.*)")
_CUT = re.compile(r"(\d+) +(\w+)\((.*?) *<unfinished \.\.\.>")
_RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"(?:\.\.\.)?|([^", ][^",]*)')
_OPENED = re.compile(r"[^<]*<(.*)>(\(deleted\))?$")


@dataclass(frozen=True)
class Operation:
    """One change of the disk, or something said to the world (`said`, with its words in `data`).

    Of two paths `path` is the one that is there before, `to` the one that is there after.
    """

    kind: str
    path: str = ""
    to: str = ""
    data: bytes = b""
    size: int = 0


def record(
    command: Sequence[str | Path], watched: re.Pattern[str], lines: Path, env: Mapping[str, str]
) -> list[Operation]:
    """Run the command under strace, which writes `lines`.

    Returns what it and all that it started did to paths that match `watched`, in order.
    """
    if shutil.which("strace") is None:
        raise RuntimeError("strace is not installed; `./test` installs it (apt install strace)")
    result = subprocess.run(
        ["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-s", "1000000", "-o", lines,
         "-e", f"trace={_TRACED}", *command],
        env=env, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    if result.returncode != 0:
        raise RuntimeError(f"{command} ended with {result.returncode}:\n{result.stderr[-4000:]}")
    with open(lines, encoding="ascii") as file:
        return list(_operations(file, watched))


def _operations(lines: Iterator[str], watched: re.Pattern[str]) -> Iterator[Operation]:
    begun: dict[str, str] = {}
    for line in lines:
        if cut := _CUT.match(line):
            begun[cut[1]] = f"{cut[1]} {cut[2]}({cut[3]}"
            continue
        if resumed := _RESUMED.match(line):
            line = begun.pop(resumed[1]) + resumed[2]
        whole = _WHOLE.match(line)
        if whole and whole[4].isdigit():
            texts = [
                ast.literal_eval(f'b"{m[1]}"') if m[1] is not None else m[2]
                for m in _ARGUMENT.finditer(whole[3])
            ]
            yield from _read(whole[2], texts, int(whole[4]), whole[5], watched)


def _read(
    call: str, given: list[str | bytes], result: int, after: str, watched: re.Pattern[str]
) -> Iterator[Operation]:
    """The operations that a successful call was."""
    paths = _paths(call, given)
    if call in ("open", "openat", "creat"):
        path, _ = _opened(f"3{after}")
        if watched.match(path):
            words = " ".join(word for word in given if isinstance(word, str))
            flags = "O_CREAT|O_TRUNC" if call == "creat" else words
            if "O_CREAT" in flags:
                yield Operation("create", path)
            if "O_TRUNC" in flags:
                yield Operation("truncate", path)
    elif call in ("write", "pwrite64"):
        path, deleted = _opened(str(given[0]))
        data = given[1]
        assert isinstance(data, bytes)
        if watched.match(path):
            if not deleted and call == "write":
                yield Operation("write", path, data=data[:result])
            elif not deleted:
                yield Operation("pwrite", path, data=data[:result], size=int(str(given[3])))
        elif str(given[0]).startswith("1<"):
            yield Operation("said", data=data)
    elif call in ("fsync", "fdatasync", "ftruncate"):
        path, deleted = _opened(str(given[0]))
        if watched.match(path) and not deleted:
            size = int(str(given[1])) if call == "ftruncate" else 0
            yield Operation("truncate" if call == "ftruncate" else "sync", path, size=size)
    elif call in ("sync", "syncfs"):
        yield Operation("sync_all")
    elif any(watched.match(path) for path in paths):
        yield _renaming(call, given, paths)


def _renaming(call: str, given: list[str | bytes], paths: list[str]) -> Operation:
    kind = re.sub("at2?$", "", call)
    if kind in ("rename", "link"):
        return Operation(kind, paths[0], paths[1])
    if kind == "symlink":
        target = given[0]
        assert isinstance(target, bytes)
        return Operation(kind, to=paths[-1], data=target)
    if kind in ("unlink", "mkdir", "rmdir"):
        return Operation("rmdir" if "AT_REMOVEDIR" in given else kind, paths[0])
    raise NotImplementedError(f"the model of the disk does not know {call}{given}")


def _paths(call: str, given: list[str | bytes]) -> list[str]:
    """The paths among the arguments, made absolute by the directory descriptor before them."""
    paths, directory = [], ""
    for argument in given:
        if isinstance(argument, bytes):
            path = argument.decode("utf-8", "surrogateescape")
            paths.append(path if path.startswith("/") or not directory else f"{directory}/{path}")
        elif "<" in argument:
            directory, _ = _opened(argument)
            if call in ("writev", "pwritev", "sendfile", "copy_file_range", "fallocate"):
                paths.append(directory)
    return paths


def _opened(text: str) -> tuple[str, bool]:
    """The path of a descriptor, and whether its name is gone."""
    match = _OPENED.match(text)
    if match is None:
        raise ValueError(f"no descriptor's path: {text!r}")
    return match[1], bool(match[2])
