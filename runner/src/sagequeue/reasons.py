"""What the words in LAST_REASON, log lines and recovery's lines mean, as sentences."""

import re
import signal

from sagequeue.execution import LAST_SIGNAL
from sagequeue.settlement import MAX_INTERRUPTS

SENTENCES = {
    # An execution's
    "stop_gate": "the stop gate was there, so it ended after the case at hand",
    "stopped": "it was ended on order: its worker was stopped, or the job was requeued by hand",
    "no_result": "no result came: its worker, its container or the machine went away",
    "not_started": "its worker had no chance to start it: the container was away, or the worker "
    "was stopped just then",
    "no_directory": "the directory that it is to run in was not there",
    "no_script": "its script (SCRIPT) could not be read where it is to run; put it there, and "
    "workers go on by themselves",
    "no_program": "a program that it needs was not found where it is to run, or cannot be executed "
    "there: its interpreter (SAGE_BIN), what that names in turn, or setsid; its log names it, see "
    "`sagequeue doctor`, too",
    "no_search": "the search for processes of an earlier execution could not be done (it needs "
    "grep, /proc and one more process), or one of them could not be ended, so it was not started; "
    "its log says more",
    "no_process": "the machine or the container could start no more processes (its limit is "
    "reached)",
    "not_preparsed": "Sage's preparser failed, so the workload was not started and nothing is held "
    "against the job; its log has what the preparser printed",
    "out_of_memory": "the kernel killed it for want of memory; give it more memory, or have fewer "
    "workers (WORKERS) share what there is",
    "incomplete": "the workload ended with exit status 0, but its state file says that cases are "
    "left",
    "state_corrupt": "its state file does not hold one case number of its partition",
    "state_unreadable": "its state file cannot be read now, so nobody can tell whether it is "
    "complete",
    "no_progress": f"{MAX_INTERRUPTS} times in a row no result came and its state file had not "
    "moved on",
    "command_too_long": "its command is longer than the kernel takes; make SAGE_BASE_ARGS shorter",
    # A retry's
    "found_then_failed": "it printed a solution and then failed, which nobody should do again "
    "without a look",
    "attempts_exhausted": "it failed as often as MAX_FAILED_RETRIES allows",
    "retry_cut_off": "a retry of it was counted and then cut off",
    "failed": "it failed, and nobody put down why",
    # A malformed file's
    "too_large": "its file is longer than a job file can be",
    "not_key_value": "its file is not KEY=value text",
    "no_offset": "its file has no OFFSET= line",
    "bad_offset": "its OFFSET is not a number below STRIDE",
    "name_mismatch": "its OFFSET is not the one in the file's name",
    "bad_count": "its ATTEMPTS or INTERRUPTS is not a number",
    "no_regular_file": "it is not a regular file",
    "unreadable": "its file cannot be read",
    # An orphan's
    "owner_file_missing": "it has no owner file",
    "no_valid_owner_pid": "its owner file names no process",
    "owner_pid_dead": "the process in its owner file is dead",
    "owner_pid_not_that_worker": "the process in its owner file is another one by now",
    # A warning's
    "recovery_is_running": "another pass of recovery was at it",
    "lock_held": "its execution has ended, and a process that cannot be ended holds its lock",
    "shell_project_at_work": "the shell project, which takes no locks, is at work on the jobset",
    "stale_owner_file_removed": "an owner file of a job that does not run was removed",
}
_STATUS = {
    2: ", as programs do that do not take their arguments",
    126: ": SAGE_BIN is there and cannot be executed",
    127: ": a program that it calls was not found",
}


def sentence(word: str) -> str:
    """What a reason means; a word that is none of ours is given back."""
    if (status := _exit_status(word)) is not None:
        return f"the workload ended with exit status {status}{_STATUS.get(status, '')}"
    if word == f"signal_{signal.SIGKILL:d}":
        return "the workload was killed by SIGKILL, most likely for want of memory"
    if match := re.fullmatch(r"signal_([0-9]{1,3})", word):
        return f"the workload was ended by {_signal(int(match[1]))}, which nobody here sent"
    return SENTENCES.get(word, word)


def _exit_status(word: str) -> int | None:
    """The exit status that a reason names: `rc_255`, or `signal_127` of an older release."""
    if match := re.fullmatch(r"rc_([0-9]{1,3})", word):
        return int(match[1])
    if (match := re.fullmatch(r"signal_([0-9]{1,3})", word)) and int(match[1]) > LAST_SIGNAL:
        return 128 + int(match[1])
    return None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
