"""What a solver's Python prints is in the log when the line ends, whatever starts that Python."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from programs import program
from rig import Rig, rig
from sagequeue import runtime
from sagequeue.jobs import Job
from sagequeue.runtime import Descriptors, Marks, Podman

LINES = Path(runtime.__file__).parent / "scripts" / "python"
PLAIN = {"PATH": os.environ["PATH"]}
# It ends as after SIGKILL: what it has not written by then is lost.
LOST = "import os; os._exit(0)"


def pieces(code: str, env: Mapping[str, str], *, err: bool = False) -> list[bytes]:
    """What Python writes, write by write: a pipe with O_DIRECT keeps them apart."""
    ours, its = os.pipe2(os.O_DIRECT)
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**PLAIN, **env},
        stdout=subprocess.DEVNULL if err else its, stderr=its if err else None,
    ) as process:  # fmt: skip
        os.close(its)
        read = []
        while piece := os.read(ours, 65536):
            read.append(piece)
    os.close(ours)
    assert process.returncode == 0
    return read


def said(*command: str, **options: object) -> tuple[int, str, str]:
    """Exit status and output of Python."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return done.returncode, done.stdout, done.stderr


def python(code: str, *path: Path) -> tuple[int, str, str]:
    """The same, with these directories in PYTHONPATH, and no lines that a traceback indents."""
    env = {**PLAIN, "PYTHONPATH": ":".join(map(str, path))}
    status, out, err = said(sys.executable, "-c", code, env=env)
    return status, out, "".join(line for line in err.splitlines(True) if line[0] != " ")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_line_is_one_write_and_is_out_at_its_end(stream: str) -> None:
    code = f"import sys\nfor n in (1, 2): print('FOUND', n, file=sys.{stream})\n{LOST}"
    env = {"PYTHONPATH": str(LINES)}
    assert pieces(code, env, err=stream == "stderr") == [b"FOUND 1\n", b"FOUND 2\n"]


def test_who_asked_for_no_buffer_has_none() -> None:
    code = f"import sys; sys.stdout.write('half a line'); {LOST}"
    assert pieces(code, {"PYTHONPATH": str(LINES), "PYTHONUNBUFFERED": "1"}) == [b"half a line"]


def test_who_asks_for_blocks_has_blocks() -> None:
    code = f"import sys; sys.stdout.reconfigure(line_buffering=False); print(1); {LOST}"
    assert pieces(code, {"PYTHONPATH": str(LINES)}) == []


def test_without_a_standard_output_python_starts_all_the_same() -> None:
    shell = 'exec "$0" -c "import sys; sys.exit(sys.stdout is not None)" >&- 2>&-'
    env = {**PLAIN, "PYTHONPATH": str(LINES)}
    assert said("sh", "-c", shell, sys.executable, env=env)[0] == 0


@pytest.mark.parametrize(
    "text",
    [
        "import sys; print('theirs', __name__, sys.modules[__name__].__file__)",
        "raise ValueError('theirs')",
        "import there_is_none",
        "import sitecustomize; print(sitecustomize.__file__)",
        "raise ImportError('odd', name='sitecustomize')",
        "raise SystemExit(3)",
        "def",
        None,
    ],
)
def test_the_next_sitecustomize_runs_and_fails_as_without_ours(
    tmp_path: Path, text: str | None
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    if text is not None:
        (theirs / "sitecustomize.py").write_text(text)
    code = (
        "import sys; print(sys.path); m = sys.modules.get('sitecustomize'); print(m)\n"
        "try: import sitecustomize; print(sitecustomize)\n"
        "except Exception as error: print(repr(error))"
    )
    assert python(code, LINES, theirs) == python(code, theirs)
    twice = tmp_path / "twice"
    twice.symlink_to(LINES)
    assert python(code, LINES, twice, LINES, theirs) == python(code, theirs)


def test_children_find_it_in_their_environment() -> None:
    code = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', \"print('FOUND', 1); {LOST}\"])"
    )
    assert pieces(code, {"PYTHONPATH": str(LINES)}) == [b"FOUND 1\n"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_whoever_may_not_read_it_has_pythons_own_way(tmp_path: Path) -> None:
    # As for what a solver starts by sudo.
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text("print('theirs')")
    for path in (tmp_path, *list(tmp_path.parents)[:-2], theirs):
        path.chmod(0o755)
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "sitecustomize.py").write_bytes((LINES / "sitecustomize.py").read_bytes())

    def start(*path: Path) -> tuple[int, str, str]:
        env = {**PLAIN, "PYTHONPATH": ":".join(map(str, path))}
        return said("/usr/bin/python3", "-c", "print(1)", env=env, user=65534, cwd="/")

    assert start(ours, theirs) == start(theirs) == (0, "theirs\n1\n", "")
    ours.chmod(0o700)
    assert start(ours, theirs) == start(theirs)


SOLVER = """\
import os, sys
print("FOUND", "g=3")
open("state", "w").write("3")
open("reached", "w").close()
open("fifo").read()
"""
SAGE = """\
#!/bin/bash
if [ "$1" = -preparse ]; then exec cp "$2" "$2.py"; fi
[ "$1" = -python ] && shift && exec python3 "$@"
"""
CHILD = "import subprocess, sys; subprocess.run([sys.executable, 'inner.py'])"
PROCESS = """\
import multiprocessing, runpy
if __name__ == "__main__":
    worker = multiprocessing.get_context("{method}").Process(
        target=runpy.run_path, args=("inner.py",)
    )
    worker.start()
    worker.join()
"""
KINDS = {
    "plain": ("solver.py", SOLVER),
    "sage": ("solver.sage", SOLVER),
    "bash": ("solver.sh", "python3 inner.py; exit"),
    "child": ("solver.py", CHILD),
    **{
        method: ("solver.py", PROCESS.replace("{method}", method))
        for method in multiprocessing.get_all_start_methods()
    },
}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Rig]:
    with rig(tmp_path / "rig", stride=1, total=1) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_printed_before_the_state_file_outlives_the_solver(
    demo: Rig, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, text = KINDS[kind]
    interpreter = {"solver.py": sys.executable, "solver.sh": "/bin/bash"}.get(name)
    if interpreter is None:
        interpreter = str(program(demo.root, "sage", SAGE))
    (demo.home / name).write_text(text)
    (demo.home / "inner.py").write_text(SOLVER)
    os.mkfifo(demo.home / "fifo")
    demo.configure(SAGE_BIN=interpreter, SCRIPT=demo.home / name)
    demo.run("enqueue")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    worker = demo.worker(1)
    demo.until((demo.home / "reached").exists, "the state file")
    assert "FOUND g=3\n" in demo.log(0)
    worker.send_signal(signal.SIGTERM)
    assert demo.until_ended(worker) == 0
    assert len(list(demo.config.results_dir.glob("*.json"))) == 1


# In a container


def container(places: str, path: str = "", env: Mapping[str, str] = PLAIN) -> tuple[int, str, str]:
    """What the PYTHONPATH of a solver is there, and what the log says before the solver's words."""
    text = runtime.lines_in_container(places) + '\nprintf "%s" "$PYTHONPATH"'
    given = {**env, "PYTHONPATH": path} if path else env
    return said("/bin/sh", "-c", f"exec 4>&2\n{text}", "x", "mark", "word", env=given)


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    """The container's /tmp."""
    made = tmp_path / "tmp"
    made.mkdir()
    return made


def test_a_container_gets_a_copy_which_later_solvers_find_without_starting_anything(
    tmp: Path,
) -> None:
    status, directory, log = container(str(tmp))
    assert (status, log) == (0, "")
    assert Path(directory).parent == tmp
    assert f"-{os.getuid()}-" in directory
    assert os.stat(directory).st_mode & 0o7777 == 0o700
    copy = Path(directory, "sitecustomize.py")
    assert copy.read_bytes() == (LINES / "sitecustomize.py").read_bytes()
    assert os.listdir(directory) == [copy.name]
    nothing = {"PATH": "/nowhere"}
    assert container(str(tmp), env=nothing) == (0, directory, "")
    # What the image has there stays, behind it.
    assert container(str(tmp), "/theirs:/more", nothing) == (0, f"{directory}:/theirs:/more", "")
    copy.unlink()
    assert container(str(tmp)) == (0, directory, "")
    assert copy.exists()


def test_variables_of_the_image_stay_as_they_are(tmp: Path) -> None:
    mine = {"PATH": os.environ["PATH"], "text": "1", "hash": "2", "uid": "3", "lines": "4"}
    text = runtime.lines_in_container(str(tmp)) + "\nexec env"
    told = said("sh", "-c", f"exec 4>&2\n{text}", "x", "mark", "word", env=mine)[1].splitlines()
    changed = [line for line in told if line.partition("=")[0] not in ("PWD", "_", "PYTHONPATH")]
    assert sorted(changed) == sorted(f"{name}={value}" for name, value in mine.items())


def test_many_solvers_that_start_at_once_all_have_it(tmp: Path) -> None:
    text = runtime.lines_in_container(str(tmp)) + f"\nexec {sys.executable} -c 'import sys; "
    text += "print(sys.stdout.line_buffering)'"
    solvers = [
        subprocess.Popen(
            ["sh", "-c", f"exec 4>&2\n{text}", "x", "mark", f"word{n}"],
            stdout=subprocess.PIPE, text=True,
        )
        for n in range(8)
    ]  # fmt: skip
    assert [solver.communicate()[0] for solver in solvers] == ["True\n"] * 8


@pytest.mark.parametrize("taken", ["by another", "by a link", "by a file"])
def test_what_somebody_else_put_there_is_not_used(tmp: Path, tmp_path: Path, taken: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    name = Path(container(str(other))[1]).name
    there = tmp / name
    if taken == "by another":
        if os.getuid() != 0:
            pytest.skip("only root can give files away")
        there.mkdir()
        (there / "sitecustomize.py").write_text("raise SystemExit('theirs')")
        os.chown(there, 65534, 65534)
    elif taken == "by a link":
        there.symlink_to(other / name)
    else:
        there.touch()
    assert container(f"{tmp} {other}") == (0, str(other / name), "")
    status, path, log = container(str(tmp), "/theirs")
    assert (status, path) == (0, "/theirs")
    assert log == f"sagequeue: cannot write to {tmp}: Python keeps lines back until it ends\n"


def test_an_incomplete_copy_is_none(tmp: Path) -> None:
    # A shell whose files may have no byte: as on a full disk.
    text = "exec 4>&2; trap '' XFSZ; ulimit -f 0\n" + runtime.lines_in_container(str(tmp))
    _, _, log = said("sh", "-c", text, "x", "mark", "word")
    assert "cannot write" in log
    assert [path for path in tmp.rglob("*") if path.is_file()] == []


_PODMAN = """#!/bin/sh
[ "$1" = exec ] || exit 1
while [ "$1" != sagemath ]; do shift; done
shift
exec env -i PATH="$PATH" PYTHONPATH=/theirs "$@"
"""


def test_podmans_solvers_write_by_lines_and_keep_the_images_path(
    demo: Rig, programs: Path, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.run("enqueue")
    program(programs, "podman", _PODMAN)
    monkeypatch.setattr(
        runtime, "IN_CONTAINER", runtime.lines_in_container(str(tmp)) + runtime.WRAPPER
    )
    script = demo.home / "solver.py"
    script.write_text(f"import os; print('PATH', os.environ['PYTHONPATH']); {LOST}")
    config = replace(
        demo.config, runtime="podman", service="sagemath", container_workdir="/",
        script=str(script), sage_bin=sys.executable,
    )  # fmt: skip
    job = Job("demo", 0)
    files = [os.open(tmp / name, os.O_RDWR | os.O_CREAT) for name in ("lock", "log", "record")]
    pid = Podman(config).launch(job, Marks(tmp / "lock", "word"), Descriptors(*files))
    os.waitpid(pid, 0)
    (directory,) = tmp.glob("sagequeue-*")
    assert (tmp / "log").read_text() == f"PATH {directory}:/theirs\n"
    assert (tmp / "record").read_text().endswith("RC=0\n")
    for fd in files:
        os.close(fd)
