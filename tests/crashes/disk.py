"""What may be on the disk after a power cut: a model of a filesystem that promises little.

Certain is only what was synced:

- A file's content is certain as of its last fsync. Of what was written later there may be nothing,
  a part, all of it, or zeros in its place.
- A change of names (made, renamed, removed) is certain once a directory that it changes has been
  fsynced; fsync of a file does not make its name last. Uncertain changes survive in any
  combination in which those of the same name keep their order. This is weaker than what ext4, xfs
  and btrfs do, which order more (Pillai and others, "All File Systems Are Not Created Equal", OSDI
  2014, table 1).
- A rename is atomic, across directories too: both of its ends or neither. That is what journals and
  copy-on-write give, and what docs/guarantees.md asks of the filesystem.
"""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from recording import Operation

# So many uncertain names, besides the newest, are looked at alone after one operation.
_TRIED = 2


@dataclass(eq=False)
class File:
    """A regular file: its certain content, and what it was after each change since."""

    certain: bytes = b""
    since: list[bytes] = field(default_factory=list)
    _versions: list[bytes] | None = None

    @property
    def now(self) -> bytes:
        return self.since[-1] if self.since else self.certain

    def change(self, content: bytes) -> None:
        self.since.append(content)
        self._versions = None

    def sync(self) -> None:
        self.certain, self.since, self._versions = self.now, [], None

    def versions(self) -> list[bytes]:
        """What it may hold: the oldest first, the newest second."""
        if self._versions is None:
            steps = [self.certain, *self.since]
            middle = steps[len(steps) // 2]
            same = _common(self.certain, self.now)
            rest = len(self.now) - same
            torn, zeros = self.now[: same + rest // 2], self.now[:same] + bytes(rest)
            self._versions = list(
                dict.fromkeys((self.certain, self.now, zeros, torn, middle, steps[-2:][0]))
            )
        return self._versions


def _common(one: bytes, other: bytes) -> int:
    """How many bytes they begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


@dataclass(eq=False)
class Directory:
    """A directory; its entries are known by their paths."""


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: bytes


Node = File | Directory | Link
Names = Mapping[str, Node | None]
Tree = Mapping[str, bytes | Directory | Link]
"""What is on the disk: a file's content, a directory, a link, by path."""


@dataclass(eq=False)
class Change:
    """Names that were changed at once; None for one that is gone."""

    names: Names
    needs: list["Change"]


class Disk:
    """A disk whose power may fail after any operation."""

    def __init__(self, root: str) -> None:
        """One with nothing in `root`, which is there for certain."""
        self._root = root
        self._now: dict[str, Node] = {}
        self._certain: dict[str, Node] = {}
        self._pending: list[Change] = []

    def apply(self, op: Operation) -> None:
        """Do one operation."""
        if op.kind in ("write", "pwrite", "truncate"):
            self._write(op)
        elif op.kind == "create":
            if op.path not in self._now:
                self._rename({op.path: File()})
        elif op.kind == "mkdir":
            self._rename({op.path: Directory()})
        elif op.kind == "symlink":
            self._rename({op.to: Link(op.data)})
        elif op.kind == "rename":
            self._rename({op.path: None, op.to: self._now[op.path]})
        elif op.kind == "link":
            self._rename({op.to: self._now[op.path]})
        elif op.kind in ("unlink", "rmdir"):
            self._rename({op.path: None})
        elif op.kind == "sync":
            node = self._now.get(op.path)
            if isinstance(node, File):
                node.sync()
            else:
                self._settle([c for c in self._pending if any(_in(op.path, p) for p in c.names)])
        elif op.kind == "sync_all":
            self.sync_all()

    def sync_all(self) -> None:
        """Make everything certain."""
        self._settle(list(self._pending))
        for node in self._now.values():
            if isinstance(node, File):
                node.sync()

    def now(self) -> Tree:
        """What the processes see."""
        return {p: n.now if isinstance(n, File) else n for p, n in self._now.items()}

    def after_power_cut(self, chance: random.Random, more: int) -> Iterator[Tree]:
        """What may be there after a power cut now: the extremes, and `more` chosen by chance.

        All of it where that is little.
        """
        for names in self._survivors(chance, more):
            yield from self._contents(names, chance, more)
        yield from self._each_file(self._reachable(self._now))

    def _write(self, op: Operation) -> None:
        file = self._now[op.path]
        assert isinstance(file, File)
        if op.kind == "truncate":
            content = file.now[: op.size].ljust(op.size, b"\0")
        else:
            # The runner and the solvers only ever write at the end, but for pwrite.
            start = len(file.now) if op.kind == "write" else op.size
            content = file.now[:start].ljust(start, b"\0") + op.data
            content += file.now[len(content) :]
        if content != file.now:
            file.change(content)

    def _rename(self, names: Names) -> None:
        needs = [c for c in self._pending if not names.keys().isdisjoint(c.names)]
        self._pending.append(Change(names, needs))
        _put(self._now, names)

    def _settle(self, changes: list[Change]) -> None:
        whole = _with_needs(changes)
        for change in self._pending:
            if change in whole:
                _put(self._certain, change.names)
        self._pending = [change for change in self._pending if change not in whole]

    def _survivors(self, chance: random.Random, more: int) -> Iterator[dict[str, Node]]:
        """The names that may be there."""
        pending, chosen = self._pending, []
        if len(pending) <= 3:
            sizes = range(len(pending) + 1)
            chosen = [c for n in sizes for c in itertools.combinations(pending, n)]
        else:
            chosen = [(), tuple(pending)]
            # Most were pending after the operation before this one, too.
            for change in pending[-2:] + chance.sample(pending[:-2], min(_TRIED, len(pending) - 2)):
                chosen.append((change,))
                chosen.append(tuple(c for c in pending if change not in _with_needs([c])))
            for _ in range(more):
                chosen.append(tuple(c for c in pending if chance.random() < 0.5))
        for some in {frozenset(_with_needs(some)) for some in chosen}:
            names = dict(self._certain)
            for change in pending:
                if change in some:
                    _put(names, change.names)
            yield self._reachable(names)

    def _reachable(self, names: dict[str, Node]) -> dict[str, Node]:
        """Without what lies in a directory that is not there."""
        there: dict[str, Node] = {}
        for path in sorted(names):
            parent = path.rpartition("/")[0]
            if parent == self._root or parent in there:
                there[path] = names[path]
        return there

    def _contents(self, names: dict[str, Node], chance: random.Random, more: int) -> Iterator[Tree]:
        tree = {p: n.certain if isinstance(n, File) else n for p, n in names.items()}
        dirty = {p: n.versions() for p, n in names.items() if isinstance(n, File) and n.since}
        for which in range(max(map(len, dirty.values()), default=1)):
            yield tree | {p: v[min(which, len(v) - 1)] for p, v in dirty.items()}
        for _ in range(more if len(dirty) > 1 else 0):
            yield tree | {p: chance.choice(v) for p, v in dirty.items()}

    def _each_file(self, names: dict[str, Node]) -> Iterator[Tree]:
        """With every version of one file, and of the others the newest."""
        newest = {p: n.now if isinstance(n, File) else n for p, n in names.items()}
        for path, node in names.items():
            if isinstance(node, File) and node.since:
                yield from (newest | {path: version} for version in node.versions())


def _put(tree: dict[str, Node], names: Names) -> None:
    for path, node in names.items():
        if node is None:
            tree.pop(path, None)
        else:
            tree[path] = node


def _in(directory: str, path: str) -> bool:
    return path.rpartition("/")[0] == directory


def _with_needs(changes: Iterable[Change]) -> set[Change]:
    """Those changes, and all that must have happened for them."""
    whole: set[Change] = set()
    waiting = list(changes)
    while waiting:
        change = waiting.pop()
        if change not in whole:
            whole.add(change)
            waiting.extend(change.needs)
    return whole
