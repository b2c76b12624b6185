"""Prove that Sage's Python can solve: one formula with a solution, one without, both with XORs."""

import pycryptosat


def solve(clauses: list[list[int]], xors: list[tuple[list[int], bool]]) -> object:
    """What CryptoMiniSat says: (satisfiable, values of the variables from 1 on)."""
    solver = pycryptosat.Solver(threads=1)
    for clause in clauses:
        solver.add_clause(clause)
    for variables, parity in xors:
        solver.add_xor_clause(variables, parity)
    return solver.solve()


def expect(found: object, expected: object) -> None:
    """End with a message unless the solver found what there is."""
    if found != expected:
        raise SystemExit(f"pycryptosat found {found!r}, and it is {expected!r}")


# x1 holds, and x1, x2, x3 alternate.
expect(
    solve([[1]], [([1, 2], True), ([2, 3], True)]),
    (True, (None, True, False, True)),
)
# Of three that differ pairwise, with two values, there are none.
expect(
    solve([[1, 2]], [([1, 2], True), ([2, 3], True), ([1, 3], True)]),
    (False, None),
)
print(f"pycryptosat {pycryptosat.__version__}")
