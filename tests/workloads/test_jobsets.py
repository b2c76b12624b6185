"""The jobsets that are shipped say of their cases and state files what the workload says."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from mathematics import script

JOBSETS: dict[str, Any] = yaml.safe_load(
    (Path(__file__).resolve().parents[2] / "group_vars" / "all" / "jobsets.yml").read_text()
)["jobsets"]
OURS = {name for name, record in JOBSETS.items() if record["script"].startswith("rank_boundary")}


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_record_has_the_workloads_number_of_cases_and_state_files(name: str) -> None:
    record = JOBSETS[name]
    words = record["args"].replace("{stop_file}", "stop").split()
    args = script.arguments([*words, "--stride", "5", "--offset", "2"])
    args.solver = None
    question, stem = script.question_asked(args)
    assert record["total_cases"] == question.total
    assert record["state_file"] == f"{stem}_stride{{stride}}_off{{offset}}.txt"
    assert record["stride"] <= question.total
    assert args.resume
    assert args.stop_file == "stop"


@pytest.mark.parametrize("name", sorted(name for name in OURS if name.startswith("petersen")))
def test_the_first_experiments_leave_the_solver_open(name: str) -> None:
    words = JOBSETS[name]["args"].replace("{stop_file}", "stop").split()
    assert script.arguments(words).sat_backend == "auto"


def test_the_question_itself_and_its_neighbour_are_among_them() -> None:
    for stem in ("petersen", "rook", "shri"):
        for kind in ("r3", "le3", "le4"):
            assert f"{stem}_{kind}" in OURS
