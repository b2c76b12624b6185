"""Sets of whole numbers that are few runs of consecutive ones: the cases of a partition."""

from collections.abc import Iterable, Iterator


class Ranges:
    """Disjoint ranges in ascending order, each `[first, last]`, both included."""

    def __init__(self, pairs: Iterable[Iterable[int]] = ()) -> None:
        """Raises ValueError or TypeError for what are no pairs of numbers in ascending order."""
        self.pairs: list[list[int]] = []
        for first, last in pairs:
            if not isinstance(first, int) or not isinstance(last, int) or first > last:
                raise ValueError(f"{first!r} to {last!r} is no range")
            self.add(first, last)

    def add(self, first: int, last: int) -> None:
        """Take in `first` to `last`; nothing if that is empty."""
        if first > last:
            return
        # Cases come in ascending order: what is to be joined is at the end, nearly always.
        at = len(self.pairs)
        while at and self.pairs[at - 1][0] > last + 1:
            at -= 1
        end = at
        while at and self.pairs[at - 1][1] >= first - 1:
            at -= 1
            first, last = min(first, self.pairs[at][0]), max(last, self.pairs[at][1])
        self.pairs[at:end] = [[first, last]]

    def without(self, others: "Ranges") -> "Ranges":
        """What is in these ranges and not in the others."""
        left = Ranges()
        gaps = iter([*others.pairs])
        gap = next(gaps, None)
        for first, last in self.pairs:
            while gap is not None and gap[1] < first:
                gap = next(gaps, None)
            while gap is not None and gap[0] <= last:
                left.add(first, gap[0] - 1)
                first = gap[1] + 1
                if gap[1] > last:
                    break
                gap = next(gaps, None)
            left.add(first, last)
        return left

    def __eq__(self, other: object) -> bool:
        """Whether they are the same numbers."""
        return isinstance(other, Ranges) and self.pairs == other.pairs

    __hash__ = None  # type: ignore[assignment]  # they change

    def __len__(self) -> int:
        """How many numbers they are."""
        return sum(last - first + 1 for first, last in self.pairs)

    def __iter__(self) -> Iterator[int]:
        """Each number, in ascending order."""
        for first, last in self.pairs:
            yield from range(first, last + 1)
