"""Campaigns on each broken build. Each is caught; test_campaign.py has the sound one."""

import re
from collections.abc import Callable

import pytest

# A campaign ends with the first round that shows something, mostly the first or the second. What a
# round shows depends on chance: one in three shows nothing, ten in a row hardly ever do.
FAULTS = 2000
SEED = 7

# Which invariants of evidence.py a build breaks: one of them at least has to tell of it.
CAUGHT = {
    "owner written after the rename and no lock": {"disturbed", "overlaps", "again"},
    "lock not inherited": {"disturbed", "overlaps", "again"},
    "client's exit status trusted": {"attempts"},
    "rc 0 taken for done": {"done"},
    "only the leader killed": {"overlaps"},
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("build", CAUGHT)
def test_a_broken_build_is_caught_by_the_same_campaign(
    campaign: Callable[..., str], build: str
) -> None:
    said = campaign(FAULTS, "--build", build, seed=SEED)
    broken = set(re.findall(r"^VIOLATION round \d+: (\w+): ", said, re.MULTILINE))
    assert broken & CAUGHT[build], said
    assert f"again: ./bootstrap python tests/faults --seed {SEED} --faults {FAULTS}" in said
