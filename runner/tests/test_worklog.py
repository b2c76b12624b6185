"""A partition's log stays within bounds, and a run keeps all its own lines."""

import os
from dataclasses import replace

from sagequeue import worklog
from sagequeue.config import Config
from sagequeue.spool import Spool

MIB = 2**20


def begin(config: Config) -> None:
    os.close(worklog.begin(config, 0))


def test_a_log_over_its_limit_makes_room_when_an_execution_begins(
    config: Config, spool: Spool
) -> None:
    config = replace(config, log_limit=1)
    log, former = config.log_file(0), config.log_dir / "demo_off0.log.1"
    log.write_bytes(b"x" * MIB)
    begin(config)
    assert (log.stat().st_size, former.exists()) == (MIB, False)
    log.write_bytes(b"y" * (MIB + 1))
    begin(config)
    assert (log.stat().st_size, former.stat().st_size) == (0, MIB + 1)
    log.write_bytes(b"z" * (MIB + 2))
    begin(config)
    assert former.read_bytes() == b"z" * (MIB + 2), "one former log is kept"


def test_without_a_limit_a_log_grows(config: Config, spool: Spool) -> None:
    config = replace(config, log_limit=0)
    os.truncate(worklog.begin(config, 0), 65 * MIB)
    begin(config)
    assert config.log_file(0).stat().st_size == 65 * MIB
