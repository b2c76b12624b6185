"""What the wrapper does when the machine lacks something: it starts nothing, and says what."""

import os
import re
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest
from kit import waiting
from programs import program
from rig import Rig, alive
from sagequeue.jobs import JobState
from wrapped import Wrapped, open_to_all

TOOLS = ("bash", "cat", "env", "grep", "head", "ln", "nice", "rm", "setsid", "sh", "sleep", "tr")


def tools(root: Path, *, without: str = "") -> Path:
    """A directory for PATH that has the programs which the scripts use, but for one."""
    root.mkdir()
    for name in TOOLS:
        if name != without:
            (root / name).symlink_to(shutil.which(name) or "")
    return root


def test_the_scripts_need_no_more_than_these_programs(wrapped: Wrapped, tmp_path: Path) -> None:
    wrapped.start("sleep 1000 >/dev/null 2>&1 & echo hi; exit 4", path=str(tools(tmp_path / "bin")))
    assert wrapped.ended().rc == 4
    assert wrapped.lines == ["hi"]


@pytest.mark.parametrize("missing", ["grep", "nice", "setsid", "sleep"])
def test_without_a_program_that_it_needs_nothing_is_started(
    wrapped: Wrapped, tmp_path: Path, missing: str
) -> None:
    wrapped.start("touch $here/started", path=str(tools(tmp_path / "bin", without=missing)))
    run = wrapped.ended()
    assert (run.lacks, run.started) == ("no_search" if missing == "grep" else "no_program", False)
    assert not (tmp_path / "started").exists()
    assert missing in wrapped.log.read_text()


ABOUT_GREP = {
    "says nothing": "exit 0",
    "fails": "exit 2",
    "does not read to the end": "echo /proc/1/environ; kill -9 $$",
    "cannot": 'echo "grep: unrecognized option: z" >&2; exit 1',
}


@pytest.mark.parametrize("grep", ABOUT_GREP)
def test_a_search_that_does_not_find_itself_is_none(
    wrapped: Wrapped, tmp_path: Path, grep: str
) -> None:
    directory = tools(tmp_path / "bin", without="grep")
    program(directory, "grep", f"#!/bin/sh\n{ABOUT_GREP[grep]}\n")
    wrapped.start("touch $here/started", path=str(directory))
    run = wrapped.ended()
    assert (run.lacks, run.started) == ("no_search", False)
    assert not (tmp_path / "started").exists()


FROM_THE_ENVIRONMENT = [
    ("SHELLOPTS", "noglob"),
    ("SHELLOPTS", "errexit"),
    ("SHELLOPTS", "monitor"),
    ("SHELLOPTS", "noclobber"),
    ("BASH_FUNC_grep%%", '() {\n /bin/grep --color=always "$@"\n}'),
    ("BASH_FUNC_grep%%", "() {\n echo /proc/self/cmdline\n}"),
]


@pytest.mark.parametrize(("name", "value"), FROM_THE_ENVIRONMENT)
def test_what_the_shell_takes_from_the_environment_does_not_spoil_the_search(
    wrapped: Wrapped, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    marks = {"SAGEQUEUE_JOB": str(wrapped.lock), "here": str(wrapped.root)}
    stray = subprocess.Popen(["sleep", "1000"], env={**os.environ, **marks})
    try:
        assert wrapped.run("cat /proc/self/oom_score_adj >score; exit 7").rc == 7
        assert stray.poll() == -signal.SIGKILL
        assert wrapped.file("score") == "800"
    finally:
        stray.kill()
        stray.wait()


LIMITED = '#!/bin/sh\nprlimit --pid $PPID --nproc=1\nexec /bin/grep "$@"\n'


@pytest.mark.skipif(os.getuid() != 0, reason="takes another user's identity")
@pytest.mark.parametrize("when", ["no_search", "no_process"])
def test_where_no_process_can_be_started_nothing_is(
    wrapped: Wrapped, tmp_path: Path, when: str
) -> None:
    if "bash" in wrapped.shell[0]:
        pytest.skip("bash tries for 15 s")
    user = ["setpriv", "--reuid=54399", "--clear-groups", "--inh-caps=-all"]
    open_to_all(tmp_path)
    if when == "no_search":
        wrapped.start("touch $here/started", before=[*user, "prlimit", "--nproc=1"])
    else:  # the search is the last that can be started
        grep = program(tmp_path, "grep", LIMITED)
        path = f"{grep.parent}:{os.environ['PATH']}"
        wrapped.start("touch $here/started", before=user, path=path)
    run = wrapped.ended()
    assert (run.lacks, run.started) == (when, False)


DANGLING = {
    "#!/no/such/interpreter -x\n": "/no/such/interpreter",
    "#! /usr/bin/env -S nosuchpython -u\n": "nosuchpython",
    "#!/usr/bin/env -Snosuchpython -u\n": "nosuchpython",
    "#!/usr/bin/env -vS -i A=1 nosuchpython\n": "nosuchpython",
    "#!/usr/bin/env --split-string=nosuchpython\n": "nosuchpython",
    "#!/usr/bin/env nosuchpython\n": "nosuchpython",
    "#!/usr/bin/env sh -u\n": "'sh -u', which env takes for one name without -S",
    "#!/bin/sh\r\n": "/bin/sh followed by a carriage return",
    "#!{root}/other\n": "/no/other",
}


@pytest.mark.parametrize("first_line", DANGLING)
@pytest.mark.parametrize("link", ["", pytest.param("linked", marks=pytest.mark.long)])
def test_a_program_whose_interpreter_is_missing_is_the_machines_fault(
    wrapped: Wrapped, tmp_path: Path, first_line: str, link: str
) -> None:
    program(tmp_path, "other", "#!/no/other\n")
    sage = program(tmp_path, "sage", "")
    sage.write_bytes(first_line.format(root=tmp_path).encode())
    wrapped.link = str(tmp_path / link) if link else ""
    wrapped.start("x", command=[str(sage)])
    run = wrapped.ended()
    assert (run.lacks, run.started) == ("no_program", False)
    assert wrapped.lines[-1] == (
        f"sagequeue: cannot execute {sage}: there is no {DANGLING[first_line]}"
    )


def test_a_program_whose_loader_is_missing_is_the_machines_fault(
    wrapped: Wrapped, tmp_path: Path
) -> None:
    sage = program(tmp_path, "sage", "")
    sage.write_bytes(Path("/bin/true").read_bytes().replace(b"/ld-linux-", b"/ld-nosux-"))
    wrapped.start("x", command=[str(sage)])
    run = wrapped.ended()
    assert (run.lacks, run.started) == ("no_program", False)


def test_a_missing_loader_is_found_behind_whatever_stands_before_its_path(
    wrapped: Wrapped, tmp_path: Path
) -> None:
    """Debian's linker puts a build's id before it since 2026, without a zero byte between."""
    content = bytearray(Path("/bin/true").read_bytes())
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for header in range(table, table + size * count, size):
        kind, _, offset = struct.unpack_from("<IIQ", content, header)
        if kind == 3:  # PT_INTERP
            junk = b"\xef\xd4/a1"
            content[offset : offset + len(junk)] = junk
            loader = b"/lib64/ld-nosux.so\0"
            content[offset + len(junk) : offset + len(junk) + len(loader)] = loader
            struct.pack_into("<Q", content, header + 8, offset + len(junk))
            struct.pack_into("<Q", content, header + 32, len(loader))
    sage = program(tmp_path, "sage", "")
    sage.write_bytes(content)
    wrapped.start("x", command=[str(sage)])
    run = wrapped.ended()
    assert (run.lacks, run.started) == ("no_program", False)
    assert "/lib64/ld-nosux.so" in wrapped.lines[-1]


TRUE = Path("/bin/true").read_bytes()
FOREIGN = TRUE[:18] + (22).to_bytes(2, "little") + TRUE[20:]  # IBM's
SPOILT = {
    "of zeros": (bytes(8192), "all zeros"),
    "of another machine": (FOREIGN, "for another kind of machine"),
    "cut off in its header": (TRUE[:20], "cut off"),
    "cut off in its magic": (TRUE[:4], "cut off"),
    "cut off in its table": (TRUE[:100], "cut off"),
    "cut off in its text": (TRUE[: len(TRUE) // 2], "cut off"),
    "without a library": (TRUE.replace(b"libc.so.6\0", b"libq.so.6\0"), "libq.so.6: cannot open"),
}


@pytest.mark.parametrize("how", ["itself", "its interpreter"])
@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_program_is_the_machines_fault(
    wrapped: Wrapped, tmp_path: Path, spoilt: str, how: str
) -> None:
    """execvp(3) has a shell read what the kernel cannot execute, and that may end with success."""
    content, said = SPOILT[spoilt]
    sage = program(tmp_path, "sage", "")
    sage.write_bytes(content)
    if how != "itself":
        ends = "exit 2" if spoilt != "of zeros" else ":"
        sage = program(tmp_path, "script", f"#!{sage}\n{ends}\n")
    wrapped.start("x", command=[str(sage)])
    run = wrapped.ended()
    assert (run.lacks, run.started) == ("no_program", False)
    assert said in wrapped.lines[-1]


def test_a_program_that_nobody_may_execute_is_named(wrapped: Wrapped, tmp_path: Path) -> None:
    sage = program(tmp_path, "sage", "#!/bin/sh\n")
    sage.chmod(0o644)
    wrapped.start("x", command=[str(sage)])
    assert wrapped.ended().lacks == "no_program"
    assert wrapped.lines[-1].endswith(f"{sage} is not an executable file")


@pytest.mark.parametrize("status", [0, 2, 126, 127, 135, 139])
@pytest.mark.parametrize("first_line", ["", "#!/bin/sh", "#!/usr/bin/env -S A=1 sh", "ELF"])
def test_a_workload_that_was_executed_is_not_taken_for_a_spoilt_one(
    wrapped: Wrapped, tmp_path: Path, first_line: str, status: int
) -> None:
    """A text without a first line for the kernel is a shell's."""
    if first_line == "ELF":
        wrapped.start(f"exit {status}")
    else:
        sage = program(tmp_path, "sage", f"{first_line}\nexit {status}\n")
        wrapped.start("x", command=[str(sage)])
    run = wrapped.ended()
    assert (run.lacks, run.rc, run.started) == ("", status, True)


NOT_EXECUTABLE = {
    "a directory": "",
    "not for execution": "#!{root}/plain\n",
    "its own": "#!{root}\n",
}


@pytest.mark.parametrize("what", NOT_EXECUTABLE)
def test_a_program_that_cannot_be_executed_is_the_machines_fault(
    wrapped: Wrapped, tmp_path: Path, what: str
) -> None:
    (tmp_path / "plain").write_text("nobody may execute it\n")
    sage = tmp_path / "sage"
    if what == "a directory":
        sage.mkdir()
    else:
        program(tmp_path, "sage", NOT_EXECUTABLE[what].format(root=tmp_path))
    wrapped.start("x", command=[str(sage)])
    run = wrapped.ended()
    assert (run.lacks, run.started) == ("no_program", False)


@pytest.mark.parametrize("empty", ["sage", "script"])
def test_an_empty_program_or_script_is_not_started(
    wrapped: Wrapped, tmp_path: Path, empty: str
) -> None:
    """A shell and Python would make a success of it, and so of a partition that was not solved."""
    sage = program(tmp_path, "sage", "" if empty == "sage" else "#!/bin/sh\nexit 0\n")
    wrapped.start("" if empty == "script" else "x", command=[str(sage)])
    run = wrapped.ended()
    assert (run.lacks, run.started) == (f"no_{'program' if empty == 'sage' else empty}", False)
    assert wrapped.lines[-1].endswith(" is empty")


def test_a_script_of_zeros_is_not_started(wrapped: Wrapped) -> None:
    """A power cut leaves such files. A shell makes a success of it, too."""
    wrapped.start("\0" * 4096)
    run = wrapped.ended()
    assert (run.lacks, run.started) == ("no_script", False)
    assert wrapped.lines[-1].endswith(" is all zeros")


@pytest.mark.parametrize("script", ["exit 3", "\n\nexit 3\n"])
def test_a_script_that_says_something_is_started(wrapped: Wrapped, script: str) -> None:
    """Without a line's end, or after lines that say nothing."""
    wrapped.start(script)
    assert wrapped.ended().rc == 3


@pytest.mark.parametrize("session", ["known", "unknown"])
def test_an_ender_that_cannot_search_does_not_say_that_nothing_is_left(
    wrapped: Wrapped, tmp_path: Path, session: str
) -> None:
    wrapped.patience, wrapped.grace = 1, 0
    process = wrapped.start("echo $$ >ready; exec sleep 1000")
    solver = int(wrapped.file("ready"))
    if session == "unknown":  # as of an earlier release's solver
        wrapped.record.write_text(re.sub("GROUP=.*\n", "", wrapped.record.read_text()))
    process.kill()
    process.wait()
    directory = tools(tmp_path / "bin", without="grep")
    assert wrapped.stop(path=str(directory)).wait(waiting.PATIENCE) == 1
    assert alive(solver)
    assert wrapped.stop().wait(waiting.PATIENCE) == 0
    assert not alive(solver)


def test_a_job_waits_for_what_its_machine_lacks_and_nothing_is_held_against_it(demo: Rig) -> None:
    directory = demo.root / "tools"
    tools(directory, without="grep")
    demo.worker(1, env={**os.environ, "PATH": str(directory)})
    demo.until(lambda: "interrupted -> pending no_search" in demo.said(1), "the lack")
    assert not demo.events("start")
    demo.until(lambda: "it needs grep" in demo.run("explain", "0").stdout, "the reason")
    (directory / "grep").symlink_to(shutil.which("grep") or "")
    demo.until_state(JobState.DONE, *range(4))
    assert not {"ATTEMPTS", "INTERRUPTS"} & demo.job(0).keys()


def test_a_dangling_interpreter_costs_no_attempt(demo: Rig) -> None:
    sage = program(demo.root, "sage", "#!/no/such/interpreter\n")
    demo.configure(SAGE_BIN=sage)
    worker = demo.worker(1)
    demo.until(lambda: demo.said(1).count("interrupted -> pending no_program") > 1, "the lack")
    # The wrapper looks for the lack after the program could not be executed, and would find none.
    demo.freeze(worker)
    for offset in range(4):
        demo.until_free(offset)
    sage.write_text('#!/bin/sh\nexec python3 "$@"\n')
    worker.send_signal(signal.SIGCONT)
    demo.until_state(JobState.DONE, *range(4))
    assert not {"ATTEMPTS", "INTERRUPTS"} & demo.job(0).keys()


def test_a_script_that_is_empty_for_a_while_makes_no_job_done(demo: Rig) -> None:
    """With no state file, only the exit status tells whether a partition was solved."""
    known = {key: demo.settings[key] for key in ("SCRIPT", "STATE_FILE_HOST", "TOTAL_CASES")}
    script = demo.root / "emptied.py"
    script.touch()
    demo.configure(SCRIPT=script, STATE_FILE_HOST=None, TOTAL_CASES=None)
    demo.worker(1)
    demo.until(lambda: demo.said(1).count("interrupted -> pending no_script") > 1, "the lack")
    assert not demo.spool.names(JobState.DONE)
    filled = demo.root / "filled.py"
    filled.write_bytes(Path(str(known["SCRIPT"])).read_bytes())
    filled.rename(script)
    demo.until_state(JobState.DONE, *range(4))
    assert not {"ATTEMPTS", "INTERRUPTS"} & demo.job(0).keys()
    demo.configure(**known)
