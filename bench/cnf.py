"""The workload's formulas for solvers without XOR: plain clauses, and the file they are read from.

An XOR of k variables becomes the 2^(k-1) clauses that exclude its odd assignments. A longer one
than `longest` is cut: fresh variables stand for the sums of its pieces.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

LONGEST = 6  # 32 clauses; of form at rank 5 or less only odd orders have a longer XOR, of 7


class Plain(NamedTuple):
    """A formula of clauses alone, over the variables 1 .. variables."""

    variables: int
    clauses: list[list[int]]


def clauses_of_xor(variables: Sequence[int]) -> Iterator[list[int]]:
    """What excludes every assignment of these variables whose sum is odd."""
    for signs in itertools.product((1, -1), repeat=len(variables)):
        if signs.count(-1) % 2:  # false where the negated ones, an odd number, are one
            yield [sign * variable for sign, variable in zip(signs, variables, strict=True)]


def without_xors(formula: Any, longest: int = LONGEST) -> Plain:
    """The workload's Formula with its XORs written out; longest is at least 3."""
    clauses, variables = [list(clause) for clause in formula.clauses], formula.variables
    for xor in formula.xors:
        rest = list(xor)
        while len(rest) > longest:
            variables += 1
            clauses += clauses_of_xor([*rest[: longest - 1], variables])
            rest = [*rest[longest - 1 :], variables]
        clauses += clauses_of_xor(rest)
    return Plain(variables, clauses)


def dimacs(plain: Plain) -> str:
    """The formula in DIMACS CNF, a clause a line."""
    lines = [f"p cnf {plain.variables} {len(plain.clauses)}"]
    lines += [" ".join(map(str, [*clause, 0])) for clause in plain.clauses]
    return "\n".join(lines) + "\n"
