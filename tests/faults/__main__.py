"""`./bootstrap python tests/faults --seed S --faults N`: attack the runner, as often as is said.

`--build NAME` attacks a deliberately broken build of it instead, see ../builds.py.
"""

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
_INSIDE = "SAGEQUEUE_FAULTS_INSIDE"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=5000)
    parser.add_argument("--build", metavar="NAME", help="a broken build of ../builds.py")
    parser.add_argument(
        "--keep", action="store_true", help="keep the files of the round that failed"
    )
    arguments = parser.parse_args()
    if _INSIDE not in os.environ:
        enter()
    directory = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        return attack(directory, arguments)
    finally:
        if arguments.keep:
            print(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def enter() -> None:
    """Run again with few variables, and in namespaces of our own, if they are to be had.

    In those of mounts and processes, so that all that is mounted or started ends with us.
    """
    keep = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    own = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
    own += ["--mount-proc"]
    if os.getuid() != 0:
        own += ["--map-root-user"]
    mounts = os.system(" ".join([*own, "true 2>/dev/null"])) == 0
    argv = [*(own if mounts else ()), sys.executable, str(HERE), *sys.argv[1:]]
    os.execvpe(argv[0], argv, keep | {_INSIDE: "mounts" if mounts else "plain"})


def attack(directory: Path, arguments: argparse.Namespace) -> int:
    if arguments.build:
        import builds

        if arguments.build not in builds.BROKEN:
            sys.exit(f"no broken build {arguments.build!r}; there are: {', '.join(builds.BROKEN)}")
        sys.path.insert(0, str(builds.build(directory, arguments.build)))
    import campaign
    import processes
    from kit.waiting import PATIENCE

    processes.adopt_orphans()
    processes.come_first()
    mounts = os.environ[_INSIDE] == "mounts"
    if not mounts:
        print("WITHOUT full disks and read-only directories: no namespaces are to be had here")
    result = campaign.run(
        directory, arguments.seed, arguments.faults, mounts=mounts,
        say=lambda line: print(line, flush=True),
        # A broken build may never come to rest; what is wrong with it shows long before.
        patience=30.0 if arguments.build else PATIENCE,
    )  # fmt: skip
    for kind, count in sorted(result.faults.items()):
        print(f"  {count:5} {kind}")
    for text in result.violations:
        print(f"VIOLATION {text}")
    if result.violations:
        build = f" --build {shlex.quote(arguments.build)}" if arguments.build else ""
        again = f"--seed {arguments.seed} --faults {arguments.faults}{build}"
        print(f"again: ./bootstrap python tests/faults {again}")
    print(result.line(arguments.seed), flush=True)
    return bool(result.violations)


if __name__ == "__main__":
    sys.exit(main())
