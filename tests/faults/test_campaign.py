"""The campaign: SAGEQUEUE_LOCAL_FAULTS faults drawn from SAGEQUEUE_SEED."""

import os
import re
from collections.abc import Callable

import pytest

FAULTS = int(os.environ.get("SAGEQUEUE_LOCAL_FAULTS", "1000"))
SEED = int(os.environ.get("SAGEQUEUE_SEED", "101"))


@pytest.mark.timeout(1200)
def test_whatever_is_done_to_it_nothing_is_lost_and_nothing_runs_twice(
    campaign: Callable[..., str],
) -> None:
    said = campaign(FAULTS, seed=SEED, announce=True)
    assert "VIOLATION" not in said, said
    closing = re.search(r"faults: (\d+) of .*: violations 0$", said.rstrip())
    assert closing, said
    assert int(closing[1]) >= FAULTS
