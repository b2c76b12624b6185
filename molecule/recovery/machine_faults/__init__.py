"""Attacks a machine of the scenario `recovery`, as its host."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "tests"))  # for the tests' kit
