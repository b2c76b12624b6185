"""Moving in from the shell project: its queue is taken over where it lies, and as it lies.

Only its env file gets another name: the regular file `sagequeue.env` becomes `<jobset>.env`, with
a link in its place, as everything here expects it. Jobs, owner files and state files are left to
the workers and to recovery, which read them as their own.
"""

import dataclasses
import itertools
import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sagequeue import config as configuration
from sagequeue import durable, predecessor
from sagequeue.commands import typed
from sagequeue.config import ACTIVE, Config
from sagequeue.exceptions import (
    Busy,
    MalformedJob,
    SagequeueError,
    StateCorrupt,
    StateUnreadable,
)
from sagequeue.jobs import JobState
from sagequeue.spool import SUFFIX, Spool

Tell = Callable[[str], None]


def left() -> Path | None:
    """The env file where the shell project wrote it, or None: a link there is ours."""
    path = configuration.config_dir() / f"{ACTIVE}{SUFFIX}"
    return path if path.is_file() and not path.is_symlink() else None


def load(path: Path) -> Config:
    """Its settings, with what its env file leaves to the workload: the state files, the total."""
    config = configuration.load(path, {})
    words = [part for word in config.sage_base_args for part in word.split("=", 1)]
    options = dict(itertools.pairwise(words))
    prefix = options.get("--state_prefix", config.jobset)
    if {"--graph", "--rank"} <= options.keys():
        prefix = f"{options['--graph']}_r{options['--rank']}"
    name = f"state_{prefix}_stride{{stride}}_off{{offset}}.txt"
    total = options.get("--total_cases", "")
    known = int(total) if re.fullmatch("[0-9]{1,15}", total) else None
    return dataclasses.replace(
        config,
        state_file_host=config.state_file_host or f"{config.stop_file_host.parent}/{name}",
        total_cases=config.total_cases or known,
    )


def record(config: Config) -> str:
    """The record, for group_vars/all/my.yml, that means the same jobs, as YAML."""
    args = shlex.join(config.sage_base_args)
    values = {
        "script": os.path.relpath(config.script, os.path.dirname(config.stop_file_cont)),
        "needs_sage": True,
        "total_cases": config.total_cases,
        "stride": config.stride,
        "state_file": os.path.relpath(config.state_file_host, config.stop_file_host.parent),
        "log_prefix": None if config.log_prefix == config.jobset else config.log_prefix,
        "args": args.replace(shlex.quote(config.stop_file_cont), "{stop_file}"),
    }
    # JSON's values are YAML's.
    lines = [f"    {key}: {json.dumps(v)}\n" for key, v in values.items() if v is not None]
    return f"  {config.jobset}:\n{''.join(lines)}"


def refuse(config: Config | None) -> None:
    """Busy, with the commands that end it, while anything of the shell project is up.

    Its solvers can be told for `config`'s jobset only.
    """
    from sagequeue import census

    solvers = [s.pid for s in census.solvers(config) if not s.ours] if config else []
    end = predecessor.ending(predecessor.scripts(), solvers, predecessor.units())
    if end:
        raise Busy(predecessor.sentence(config.jobset if config else "not now", end))


def survey(config: Config, tell: Tell) -> None:
    """Tell what its queue holds, and what of it a person should look at."""
    spool = Spool(config)
    names = {s: sorted(spool.names(s)) if spool.dirs[s].is_dir() else [] for s in JobState}
    counts = ", ".join(f"{len(names[state])} {state}" for state in JobState)
    tell(f"{config.jobset}: the shell project's queue in {config.queue_dir} has {counts}.")
    if names[JobState.RUNNING]:
        tell(
            "Recovery gives the running jobs back to pending, which costs no attempt; their "
            "solvers go on from their state files."
        )
    places = Counter(name for there in names.values() for name in there)
    for name in (name for name, times in places.items() if times > 1):
        where = " and ".join(spool.locate(name))
        tell(f"{name} is {where}: nobody touches it until you have removed all but one.")
    for state in (JobState.PENDING, JobState.RUNNING, JobState.FAILED):
        for name in names[state]:
            try:
                spool.read(state, name)
            except MalformedJob as error:
                tell(f"{name} is no job: {error}. It waits in failed/ until you mend the file.")
    for state in JobState:
        odd = {path.stem for path in spool.dirs[state].glob(f"*{SUFFIX}")} - set(names[state])
        if odd:
            tell(f"Not of this jobset, and left in {state}/: {', '.join(sorted(odd))}.")
    _survey_states(spool, tell)
    if config.gated:
        clear = typed(config, "clear-stop")
        tell(f"The stop gate is set: {config.stop_file_host}. {clear} clears it.")


def _survey_states(spool: Spool, tell: Tell) -> None:
    config = spool.config
    last: dict[int, int] = {}
    for offset in range(config.stride):
        try:
            last[offset] = config.last_gidx(offset)
        except (StateCorrupt, StateUnreadable) as error:
            tell(f"{error}.")
    cases = sum(0 if gidx < 0 else gidx // config.stride + 1 for gidx in last.values())
    tell(f"By the state files, {config.state_file_host}, {cases} cases are done.")
    # A case that any partition has done is one of the enumeration, so there are this many at least.
    least = dataclasses.replace(
        config, total_cases=config.total_cases or max(last.values(), default=-1) + 1
    )
    short = [
        offset
        for offset in last
        if spool.lies(JobState.DONE, f"{config.jobset}_off{offset}") and not least.complete(offset)
    ]
    if short:
        offsets = " ".join(map(str, short))
        tell(
            f"In done/, and by their state files not done: offsets {offsets}. The shell project "
            "put there what its stop file had paused. To have them solved to their end, afterwards:"
            f"\n  for k in {offsets}; do sagequeue enqueue --jobset {config.jobset} --force "
            "--offset $k; done"
        )


def take_over(path: Path, config: Config, tell: Tell) -> None:
    """Make its env file the jobset's, keeping it as it was beside it."""
    own = configuration.config_dir() / f"{config.jobset}{SUFFIX}"
    text = path.read_text(encoding="utf-8")
    if own.exists() and _queue(own) != os.path.realpath(config.queue_dir):
        raise SagequeueError(
            f"{own} has another queue than {path} for {config.jobset}. Move away the one that is "
            "not to be worked on any more, and do this again"
        )
    if own.exists():
        tell(f"{own} was there already, and stays.")
    else:
        durable.replace(own, text)
        tell(f"Its settings are {own} from now on.")
    if path == left():
        before = _spare(path, text)
        durable.replace(before, text)
        link = path.with_name(f".{path.name}.new")
        link.unlink(missing_ok=True)
        link.symlink_to(own.name)
        link.rename(path)
        durable.sync_directory(path.parent)
        tell(f"{path} links there; as it was, it is {before}.")


def _queue(own: Path) -> str:
    return os.path.realpath(configuration.load(own, {}).queue_dir)


def _spare(path: Path, text: str) -> Path:
    """A name beside it that holds the same, or nothing yet."""
    spare, number = path.with_name(f"{path.name}.before"), 1
    while spare.exists() and spare.read_text(encoding="utf-8") != text:
        number += 1
        spare = path.with_name(f"{path.name}.before{number}")
    return spare


def next_command(config: Config) -> str:
    """What to type, in our clone, to have its jobs worked on."""
    root, var = config.project_root, config.state_dir.parent
    # Where our clone took the place of theirs, the queue lies where it is looked for.
    in_place = (root / "site.yml").is_file() and var == root / "var"
    where = "" if in_place else f" -e sagequeue_var_dir={shlex.quote(str(var))}"
    return f"./bootstrap ansible-playbook site.yml -e jobset={config.jobset}{where}"
