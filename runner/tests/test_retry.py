"""Which failed jobs go again by themselves: one table."""

import pytest
from sagequeue.jobs import Job
from sagequeue.retry import Verdict, at_once, decide

RETRY, HOLD = Verdict.RETRY, Verdict.HOLD


@pytest.mark.parametrize(
    ("extra", "verdict", "reason"),
    [
        # its own failure, as often as is allowed
        ({}, RETRY, "failed"),
        ({"LAST_OUTCOME": "failed", "LAST_REASON": "rc_7"}, RETRY, "rc_7"),
        ({"LAST_OUTCOME": "failed", "LAST_REASON": "signal_9"}, RETRY, "signal_9"),
        ({"LAST_OUTCOME": "failed", "ATTEMPTS": ""}, RETRY, "failed"),
        ({"LAST_OUTCOME": "failed", "ATTEMPTS": "2"}, RETRY, "failed"),
        ({"LAST_OUTCOME": "failed", "ATTEMPTS": "3"}, HOLD, "attempts_exhausted"),
        ({"LAST_OUTCOME": "failed", "ATTEMPTS": "4"}, HOLD, "attempts_exhausted"),
        ({"ATTEMPTS": "9" * 18}, HOLD, "attempts_exhausted"),
        # what no retry helps, however few there were
        ({"LAST_OUTCOME": "found"}, HOLD, "found_then_failed"),
        ({"LAST_OUTCOME": "found", "LAST_REASON": "rc_1"}, HOLD, "found_then_failed"),
        ({"LAST_OUTCOME": "interrupted", "LAST_REASON": "no_progress"}, HOLD, "no_progress"),
        ({"LAST_OUTCOME": "interrupted"}, HOLD, "no_progress"),
        ({"LAST_OUTCOME": "failed", "LAST_REASON": "state_corrupt"}, HOLD, "state_corrupt"),
        ({"LAST_OUTCOME": "failed", "LAST_REASON": "command_too_long"}, HOLD, "command_too_long"),
        # a retry that was counted and then cut off, the last one included
        ({"LAST_OUTCOME": "retry", "ATTEMPTS": "1"}, RETRY, "retry_cut_off"),
        ({"LAST_OUTCOME": "retry", "ATTEMPTS": "3"}, RETRY, "retry_cut_off"),
    ],
)
def test_a_failed_job_is_retried_or_held(
    extra: dict[str, str], verdict: Verdict, reason: str
) -> None:
    decision = decide(Job("demo", 0, extra), 3)
    assert (decision.verdict, decision.reason) == (verdict, reason)


def test_with_no_retries_allowed_the_first_failure_is_held() -> None:
    assert decide(Job("demo", 0), 0).verdict is HOLD


def test_at_most_one_more_execution_fails_than_there_are_retries() -> None:
    for allowed in range(5):
        job, executions = Job("demo", 0, {"LAST_OUTCOME": "failed"}), 1
        while decide(job, allowed).verdict is RETRY:
            job = job.with_(ATTEMPTS=job.count("ATTEMPTS") + 1)
            executions += 1
        assert executions == 1 + allowed


@pytest.mark.parametrize(
    ("reason", "soon"),
    [
        *[("signal_9", True), ("signal_11", True), ("signal_64", True), ("rc_1", False)],
        *[("signal_65", False), ("signal_127", False), ("rc_255", False), ("signal_", False)],
        *[("signal_0", False), ("signal_x", False), ("incomplete", False), ("", False)],
    ],
)
def test_only_what_a_signal_ended_is_retried_at_once(reason: str, soon: bool) -> None:
    assert at_once(reason) is soon
