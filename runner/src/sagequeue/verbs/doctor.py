"""The verb that says what is wrong."""

import argparse
import json
import os

from sagequeue import config
from sagequeue.exceptions import ConfigError
from sagequeue.verbs import Add, to_look


def register(add: Add) -> None:
    """Declare it."""
    doctor = add("doctor", _doctor, "what is wrong, why, and the command that mends it")
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.formatter_class = argparse.RawDescriptionHelpFormatter
    doctor.epilog = (
        "It only looks. Exit status: 0 all is OK, 3 there is a WARN, 1 there is a FAIL.\n"
        "`--json`: {jobset, directory, level, findings: [{check, level, cause, remedy}]}"
    )


def _doctor(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from sagequeue.doctor import EXIT, examine, report, worst
    from sagequeue.doctor.patient import Patient

    session = "XDG_RUNTIME_DIR" in os.environ
    # What asks the user's systemd and Podman finds them; a shell after `su` does not say where.
    os.environ.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    try:
        patient = Patient(to_look(arguments), session=session)
    except ConfigError as error:
        named = arguments.env_file or arguments.jobset
        path = arguments.env_file or config.config_dir() / f"{named}.env"
        if named and not os.path.exists(path):
            raise
        patient = Patient(None, str(error), session)
    results = examine(patient)
    jobset = patient.config.jobset if patient.config else None
    root = str(patient.config.project_root) if patient.config else None
    if arguments.json:
        print(json.dumps(report.as_json(jobset, root, results), indent=1))
    else:
        Console(highlight=False, soft_wrap=True).print(report.draw(jobset, root, results))
    return EXIT[worst(results)]
