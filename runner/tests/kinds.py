"""Types of fixtures, importable by name (every test directory has a conftest), and a helper."""

from collections.abc import Callable

from sagequeue.config import Config
from sagequeue.jobs import job_name
from sagequeue.reading import Reader

Put = Callable[..., str]


def read_log(config: Config, offset: int = 0) -> None:
    """Read a partition's log to its end, as its worker or recovery would."""
    reader = Reader.open(config, job_name(config.jobset, offset), offset)
    assert reader is not None
    with reader:
        assert reader.read(None, over=True)
