"""Does a proof refute a formula? A forward checker of DRUP proofs that trusts no solver.

    python bench/drup.py FORMULA.cnf PROOF.drup

The formula is DIMACS CNF. The proof is a list of lines, in order: a clause that is added, or `d`
and a clause that is deleted, each with a 0 at its end. An added clause must follow by unit
propagation: when all its literals are false, propagating through the clauses there are (the
formula's, and those added and not deleted) runs into a contradiction. The last line must be the
empty clause; when that follows, no assignment satisfies the formula.

That the proof is for this very formula: its first line is `c sha256 DIGEST`, of the file. And a
variable that the formula has not, or a deleted clause that is not there, is an error.

As in drat-trim, a deletion does not take back what propagation has found without assumptions
(Glucose deletes clauses that are reasons for such literals): those literals stay true. They
follow from the formula all the same, so this proves no more than there is.

Only the standard library, and nothing of the encoding: Goldberg and Novikov, Verification of
proofs of unsatisfiability for CNF formulas, 2003; Wetzler, Heule and Hunt, DRAT-trim, 2014.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

Clause = list[int]


class RefusedError(Exception):
    """The proof does not refute the formula; the message says from which line on."""


def digest(formula: Path) -> str:
    """What a proof's first line says of its formula's file."""
    return hashlib.sha256(formula.read_bytes()).hexdigest()


def literals(words: list[str], variables: int, where: str) -> Clause:
    """The literals of a line's words, of which the last is 0, each once."""
    try:
        numbers = [int(word) for word in words]
    except ValueError as error:
        raise RefusedError(f"{where}: not integers: {' '.join(words)[:60]!r}") from error
    if not numbers or numbers[-1] != 0 or 0 in numbers[:-1]:
        raise RefusedError(f"{where}: a clause has one 0, at its end")
    if any(abs(literal) > variables for literal in numbers):
        raise RefusedError(f"{where}: a variable that the formula has not")
    return list(dict.fromkeys(numbers[:-1]))


def read_formula(path: Path) -> tuple[int, list[Clause]]:
    """The number of variables and the clauses of a DIMACS file with one clause a line."""
    lines = path.read_text(encoding="ascii").splitlines()
    body = [(i, line.split()) for i, line in enumerate(lines, 1) if line[:1] not in ("c", "")]
    header = body[0][1] if body else []
    if header[:2] != ["p", "cnf"] or len(header) != 4 or not all(map(str.isdigit, header[2:])):
        raise RefusedError(f"{path}: does not begin with p cnf VARIABLES CLAUSES")
    variables, count = map(int, header[2:])
    clauses = [literals(words, variables, f"{path}: line {i}") for i, words in body[1:]]
    if len(clauses) != count:
        raise RefusedError(f"{path}: has {len(clauses)} clauses and says {count}")
    return variables, clauses


class Clauses:
    """The clauses there are, and what propagation makes of them.

    A list over literals has 2n+1 entries, and literal -v is at the index -v, from the end.
    """

    def __init__(self, variables: int, clauses: Iterable[Clause]) -> None:
        self.truth = [0] * (2 * variables + 1)  # 1 true, -1 false, 0 open
        self.trail: list[int] = []  # the true literals; between two calls those that stay true
        self.refuted = False  # whether propagation without assumptions has run into a contradiction
        self.implied: list[list[int]] = [[] for _ in self.truth]  # by a literal, with two clauses'
        self.watching: list[list[Clause]] = [[] for _ in self.truth]  # at places 0 and 1
        # By the set of literals: how many copies there are, and what of it is watched.
        self.present: dict[frozenset[int], tuple[int, Clause]] = {}
        # Units first: what they satisfy need not be watched.
        for clause in sorted(clauses, key=len):
            self.add(clause)

    def add(self, clause: Clause) -> None:
        """One clause more, and what follows from it at once."""
        key, truth = frozenset(clause), self.truth
        if key in self.present:
            copies, watched = self.present[key]
            self.present[key] = (copies + 1, watched)
            return
        watched = [literal for literal in clause if truth[literal] == 0]
        if any(truth[literal] > 0 or -literal in key for literal in clause):
            watched = []  # true for good
        elif not watched:
            self.refuted = True
        elif len(watched) == 1:
            known = len(self.trail)
            self.assume(watched.pop())
            self.refuted = self.propagate(known) or self.refuted
        elif len(watched) == 2:
            a, b = watched
            self.implied[-a].append(b)
            self.implied[-b].append(a)
        else:
            self.watching[watched[0]].append(watched)
            self.watching[watched[1]].append(watched)
        self.present[key] = (1, watched)

    def delete(self, clause: Clause) -> bool:
        """Take one copy of the clause away; whether there was one."""
        key = frozenset(clause)
        if key not in self.present:
            return False
        copies, watched = self.present.pop(key)
        if copies > 1:
            self.present[key] = (copies - 1, watched)
        elif len(watched) == 2:
            a, b = watched
            self.implied[-a].remove(b)
            self.implied[-b].remove(a)
        elif watched:
            for literal in watched[:2]:
                lists = self.watching[literal]
                place = next(i for i, other in enumerate(lists) if other is watched)
                lists[place] = lists[-1]
                lists.pop()
        return True

    def follows(self, clause: Clause) -> bool:
        """Whether propagation from the clause's negation runs into a contradiction."""
        if self.refuted:
            return True
        known, truth = len(self.trail), self.truth
        contradiction = False
        for literal in clause:
            if truth[literal] > 0:
                contradiction = True
                break
            if truth[literal] == 0:
                self.assume(-literal)
        contradiction = contradiction or self.propagate(known)
        for literal in self.trail[known:]:
            truth[literal] = truth[-literal] = 0
        del self.trail[known:]
        return contradiction

    def assume(self, literal: int) -> None:
        """An open literal is true from now on."""
        self.truth[literal], self.truth[-literal] = 1, -1
        self.trail.append(literal)

    def propagate(self, since: int) -> bool:
        """Find what follows from trail[since:]; whether that is a contradiction.

        Nearly all the time goes here. Clauses of two literals come first: they are cheap.
        """
        truth, trail, implied, watching = self.truth, self.trail, self.implied, self.watching
        short = since
        while True:
            while short < len(trail):
                for literal in implied[trail[short]]:
                    if truth[literal] < 1:
                        if truth[literal]:
                            return True
                        truth[literal], truth[-literal] = 1, -1
                        trail.append(literal)
                short += 1
            if since == len(trail):
                return False
            false = -trail[since]
            since += 1
            watchers, kept = watching[false], []
            for place, clause in enumerate(watchers):
                other = clause[0]
                if other == false:
                    other = clause[0] = clause[1]
                    clause[1] = false
                if truth[other] > 0:
                    kept.append(clause)
                    continue
                for k in range(2, len(clause)):
                    literal = clause[k]
                    if truth[literal] >= 0:
                        clause[1], clause[k] = literal, false
                        watching[literal].append(clause)
                        break
                else:
                    kept.append(clause)
                    if truth[other]:
                        watching[false] = kept + watchers[place + 1 :]
                        return True
                    truth[other], truth[-other] = 1, -1
                    trail.append(other)
            watching[false] = kept


def check(formula: Path, proof: Path) -> int:
    """How many clauses the proof adds; RefusedError when it does not refute the formula."""
    variables, given = read_formula(formula)
    lines = proof.read_text(encoding="ascii").splitlines()
    if lines[:1] != [f"c sha256 {digest(formula)}"]:
        raise RefusedError("line 1: the proof does not say that it is for this formula")
    clauses, added = Clauses(variables, given), 0
    for number, line in enumerate(lines[1:], 2):
        words, where = line.split(), f"line {number}"
        if words[:1] == ["d"]:
            if not clauses.delete(literals(words[1:], variables, where)):
                raise RefusedError(f"{where}: deletes a clause that is not there")
            continue
        clause = literals(words, variables, where)
        if not clauses.follows(clause):
            raise RefusedError(f"{where}: does not follow by unit propagation")
        added += 1
        if not clause:
            if number < len(lines):
                raise RefusedError(f"{where}: the empty clause is not the last line")
            return added
        clauses.add(clause)
    raise RefusedError("the proof ends without the empty clause")


def main() -> int:
    """Check one proof; exit code 0 when it refutes the formula."""
    parser = argparse.ArgumentParser(description="Check a DRUP proof.")
    parser.add_argument("formula", type=Path)
    parser.add_argument("proof", type=Path)
    args = parser.parse_args()
    try:
        print(f"VERIFIED, {check(args.formula, args.proof)} clauses")
    except RefusedError as error:
        print(f"REFUSED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
