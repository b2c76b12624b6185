#!/usr/bin/env python3
"""Is there an ordering of a graph's vertices whose boundary matrix has rank at most r?

Let A be the adjacency matrix of a graph on N vertices over GF(2), P a permutation matrix and
T = P A P^T, that is T[a,b] = A[perm[a], perm[b]] where perm[position] = vertex.  The boundary is

    dT = sum over k = 0 .. N-1 of d_k(T),        d_k deletes row k and column k,

an n x n matrix over GF(2), n = N-1.  This script asks for a perm with rank(dT) <= r.

The formula.  For u < v the entry of d_k(T) at (u, v) is T[u+1, v+1] when k <= u (both indices
lie behind the deleted one), T[u, v+1] when u < k <= v, and T[u, v] when v < k.  That is u+1,
v-u and N-1-v values of k, of which only the parities count:

    dT[u,v] = [u+1 odd] T[u+1,v+1] + [v-u odd] T[u,v+1] + [N-1-v odd] T[u,v].

T is symmetric with zero diagonal, hence so is dT: it is alternating, and its rank is even.

There are three methods. What they share: the boundary's formula and the graph's automorphisms;
gauge and form the encoding of perm, form and prefix the cases.

gauge:  rank(dT) <= r means that the kernel of dT contains a space of dimension n-r = kdim.
    A space of that dimension has a basis Y (n x kdim) that is the identity on some kdim rows J.
    So the answer is yes iff it is yes for one of the C(n, kdim) subsets J of {0 .. n-1}:

        case J:  are there perm and Y with  dT * Y = 0  and  Y_J = identity?

    Case number gidx is the gidx-th such subset in lexicographic order.

form:  an alternating matrix of rank <= 2h is a sum of h hyperbolic planes,

        dT = sum over i < h of  u_i v_i^T + v_i u_i^T,       u_i, v_i in GF(2)^n.

    One formula for perm and these vectors, which a SAT solver answers.

prefix:  perm[0 .. m] alone decides the leading m x m submatrix of dT, whose rank is at most that
    of dT.  So a search that extends perm vertex by vertex, and turns back when the rank of what
    is decided exceeds r, sees every perm of rank <= r, and little else when r is small.

For form and prefix a case is a beginning of perm, --cube_depth vertices long.  Beginnings that an
automorphism of the graph takes to a smaller one are left out: they are no cases.

Partition K of S takes the cases K, K+S, K+2S, ...

    python rank_boundary_sat_v18.sage --graph petersen --rank 3 --scan_all_J --stride 4 --offset 0
    sage   rank_boundary_sat_v18.sage --graph rook --rank 3 --J 0,1,2,3,4,5,6,7,8,9,10,11
    python rank_boundary_sat_v18.sage --graph rook --rank 3 --method form --scan
    python rank_boundary_sat_v18.sage --graph6 DQc --min_rank
    python rank_boundary_sat_v18.sage --graph rook --distribution --samples 1000000 --seed 1

The SAT solver is CryptoMiniSat (pycryptosat) or CaDiCaL (python-sat); --sat_backend chooses.

Exit codes: 0 scan complete, stop file present, or solution found; 1 self-test failed or a file
could not be written; 2 wrong arguments, corrupt state file or no SAT solver; 3 the solver gave
a solution that does not verify.  SAGE_NUM_THREADS sets CryptoMiniSat's threads (1 if unset);
CaDiCaL has one.

The text is plain Python and also survives Sage's preparser, which turns the literal 3 into
Integer(3): no caret, no literal with a decimal point, and int() where a C extension reads.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import datetime
import errno
import functools
import hashlib
import itertools
import math
import operator
import os
import random
import re
import signal
import sys
import threading
import time

EXIT_TROUBLE, EXIT_USAGE, EXIT_UNVERIFIED = int(1), int(2), int(3)
ZERO, ONE = int(0), int(1)  # for words of bits: Sage's Integers would do, slowly


class UsageError(Exception):
    """The command line, the environment or the state file is wrong; the message says how."""


# --- graphs ---------------------------------------------------------------------------------


def adjacency(order, adjacent):
    """The adjacency matrix, a list of rows of 0 and 1, of a relation between 0 .. order-1."""
    return [[int(u != v and adjacent(u, v)) for v in range(order)] for u in range(order)]


def petersen():
    """Petersen graph: outer cycle 0..4, spokes i -- i+5, inner star 5+i -- 5+(i+2 mod 5)."""

    def adjacent(u, v):
        step = (v - u) % 5
        if u // 5 == v // 5:
            return step in ((1, 4) if u < 5 else (2, 3))
        return step == 0

    return adjacency(10, adjacent)


def rook():
    """Rook graph K4 x K4: vertex 4i+j is the square (i, j); same row or same column."""
    return adjacency(16, lambda u, v: u // 4 == v // 4 or u % 4 == v % 4)


def shrikhande():
    """Shrikhande graph: vertex 4i+j is (i, j) mod 4; differences +-(1,0), +-(0,1), +-(1,1)."""
    steps = {(1, 0), (3, 0), (0, 1), (0, 3), (1, 1), (3, 3)}
    return adjacency(16, lambda u, v: ((u // 4 - v // 4) % 4, (u - v) % 4) in steps)


GRAPHS = {"petersen": petersen, "rook": rook, "shrikhande": shrikhande}
LARGEST = 62  # of graphs; graph6 has another form from here on
MOST_CUBES, MOST_IN_BATCH = 1000000, 10000000  # each is held in memory, or some words for each


def from_graph6(text):
    """The adjacency matrix that a graph6 string stands for; UsageError when it is none.

    One byte for the order, then the columns of the upper triangle, six bits a byte, 63 added to
    each: https://users.cecs.anu.edu.au/~bdm/data/formats.txt
    """
    text = text.strip()
    text = text[len(">>graph6<<") :] if text.startswith(">>graph6<<") else text
    values = [ord(character) - 63 for character in text]
    if not values or not all(0 <= value < 64 for value in values):
        raise UsageError(f"graph6 {text!r}: wants characters from ? to ~, as in IheA@GUAo")
    order = int(values[0])
    if not 2 <= order <= LARGEST:
        raise UsageError(f"graph6 {text!r}: graphs of 2 to {LARGEST} vertices are possible here")
    wanted = (order * (order - 1) // 2 + 5) // 6
    if len(values) != 1 + wanted:
        raise UsageError(
            f"graph6 {text!r}: {order} vertices take {1 + wanted} characters, not {len(values)}"
        )
    bits = [value // 2 ** (5 - place) % 2 for value in values[1:] for place in range(6)]
    if any(bits[order * (order - 1) // 2 :]):
        raise UsageError(f"graph6 {text!r}: what fills the last character up must be zero")
    A = [[ZERO] * order for _ in range(order)]
    pairs = ((u, v) for v in range(order) for u in range(v))
    for (u, v), bit in zip(pairs, bits, strict=False):
        A[u][v] = A[v][u] = int(bit)
    return A


def from_adjacency_file(path):
    """The matrix in a file, a row of 0 and 1 a line, with or without spaces; UsageError if bad."""
    try:
        with open(path, encoding="ascii") as file:
            lines = [line.split() for line in file.read(1000000).splitlines()]
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as an adjacency file: {error}") from error
    rows = ["".join(words) for words in lines if words]
    order = len(rows)
    if not 2 <= order <= LARGEST:
        raise UsageError(f"{path}: {order} rows; wants an adjacency matrix of 2 to {LARGEST}")
    for number, row in enumerate(rows):
        if len(row) != order or not set(row) <= {"0", "1"}:
            raise UsageError(f"{path}: row {number} must be {order} digits, each 0 or 1")
    for number, row in enumerate(rows):
        if row[number] != "0":
            raise UsageError(f"{path}: entry {number},{number} is 1: no vertex is its own neighbour")
        if any(rows[other][number] != row[other] for other in range(order)):
            raise UsageError(f"{path}: row {number} differs from column {number}")
    return [[int(entry) for entry in row] for row in rows]


# --- symmetry -------------------------------------------------------------------------------


def each_automorphism(A, fixed):
    """Automorphisms that fix the vertices 0 .. fixed-1, as tuples: g[vertex] = image.

    By backtracking. Placed next is what has most neighbours, or most of what are none if those
    are fewer, among the vertices that are placed: so that there is little choice.
    """
    order = len(A)
    fewer = int(2 * sum(map(sum, A)) <= order * (order - 1))
    sequence = list(range(fixed))
    while len(sequence) < order:
        left = [u for u in range(order) if u not in sequence]
        sequence.append(max(left, key=lambda u: sum(A[u][v] == fewer for v in sequence)))

    def extend(images):
        if len(images) == order:
            yield tuple(image for _, image in sorted(zip(sequence, images, strict=True)))
            return
        u = sequence[len(images)]
        known = list(zip(sequence, images, strict=False))
        for v in range(order):
            if v not in images and all(A[v][image] == A[u][w] for w, image in known):
                yield from extend([*images, v])

    yield from extend(list(range(fixed)))


def automorphisms(A, most=10000):
    """The automorphism group; where it has more than `most` elements, a subgroup that has not.

    That is the largest of the stabilizers of 0, of 0 and 1, ... to be small enough. All that is
    asked of the group here is that it is one.
    """
    small = []
    for fixed in range(len(A), -1, -1):
        group = list(itertools.islice(each_automorphism(A, fixed), int(most) + 1))
        if len(group) > most:
            break
        small = group
    return small


def least_in_orbit(v, group):
    """Whether no element of the group takes v to a smaller vertex."""
    return min(g[v] for g in group) == v


def stabilizer(group, v):
    """The elements that fix v."""
    return [g for g in group if g[v] == v]


def redundant_prefixes(group, order, most=50000):
    """Beginnings (tuples of vertices) that a perm need not have, given the automorphism group.

    For an automorphism g, perm and g o perm give the same T, so of each orbit of orderings one
    is enough, and we keep the lexicographically least.  In it, perm[m] is the least vertex of its
    orbit under the automorphisms that fix perm[0 .. m-1]: otherwise such a one makes it less.
    The beginnings returned are those where this fails for the first time at their last entry.
    No case changes its verdict: dT depends on perm through T only.

    Where most vertices are fixed there is no end of beginnings, so longer ones are left out when
    there would be more than `most` to look at. Then more than one ordering of an orbit is kept.
    """
    redundant, level = [], [((), group)]
    while level and len(level) * order <= most:
        longer = []
        for prefix, fixing in level:
            for v in range(order):
                if v in prefix:
                    continue
                if not least_in_orbit(v, fixing):
                    redundant.append((*prefix, v))
                elif len(still := stabilizer(fixing, v)) > 1:
                    longer.append(((*prefix, v), still))
        level = longer
    return redundant


def cubes(group, order, depth):
    """The beginnings of length depth that are not redundant, in lexicographic order.

    Each ordering of depth vertices is an image of exactly one of them; that one has as many
    images as the group has elements, divided by those that fix it.
    """
    level = [((), group)]
    for _ in range(depth):
        if len(level) * order > MOST_CUBES:
            raise UsageError(f"--cube_depth {depth}: more than {MOST_CUBES} cases; take less")
        level = [
            ((*prefix, v), stabilizer(fixing, v))
            for prefix, fixing in level
            for v in range(order)
            if v not in prefix and least_in_orbit(v, fixing)
        ]
    return [prefix for prefix, _ in level]


# --- the mathematics, by definition -----------------------------------------------------------


def permuted(A, perm):
    """T = P A P^T as a list of rows."""
    return [[A[u][v] for v in perm] for u in perm]


def boundary(T):
    """The boundary dT by its definition: the sum over GF(2) of T with row and column k deleted."""
    n = len(T) - 1
    total = [[0] * n for _ in range(n)]
    for k in range(len(T)):
        kept = [i for i in range(len(T)) if i != k]
        for u in range(n):
            for v in range(n):
                total[u][v] = (total[u][v] + T[kept[u]][kept[v]]) % 2
    return total


def boundary_terms(order, u, v):
    """The entries (i, j) of T whose sum is dT[u,v] for u < v, by the formula above."""
    terms = [(u + 1, v + 1, u + 1), (u, v + 1, v - u), (u, v, order - 1 - v)]
    return [(i, j) for i, j, times in terms if times % 2]


def rank_gf2(matrix):
    """Rank over GF(2) of a list of rows, by Gaussian elimination."""
    rows, rank = [list(row) for row in matrix], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            if rows[i][column]:
                rows[i] = [(a + b) % 2 for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return int(rank)


# The checks below use nothing of the encodings: the boundary comes from its definition, not from
# the formula.


def faults_in_ordering(A, r, perm):
    """What is wrong with perm as an ordering of boundary rank <= r: sentences, none if right."""
    if sorted(perm) != list(range(len(A))):
        return [f"not a permutation of 0..{len(A) - 1}: {perm}"]
    rank = rank_gf2(boundary(permuted(A, perm)))
    return [f"the boundary has rank {rank}, which is more than {r}"] if rank > r else []


def faults_in_witness(A, r, J, perm, Y):
    """What is wrong with (perm, Y) as an answer to case J of gauge: sentences, none if right."""
    n = len(A) - 1
    faults = faults_in_ordering(A, r, perm)
    if sorted(perm) != list(range(len(A))):
        return faults
    if len(Y) != n or any(len(row) != len(J) for row in Y):
        return [f"Y is not a {n} x {len(J)} matrix"]
    B, columns = boundary(permuted(A, perm)), range(len(J))
    product = [[sum(B[u][w] * Y[w][c] for w in range(n)) % 2 for c in columns] for u in range(n)]
    if any(any(row) for row in product):
        faults.append("boundary * Y is not zero")
    if any(Y[j][c] != int(b == c) for b, j in enumerate(J) for c in columns):
        faults.append("Y restricted to the rows J is not the identity")
    return faults


def faults_in_form(A, r, begin, perm, W):
    """What is wrong with (perm, W) as an answer of form or prefix: sentences, none if right.

    Row u of W is u_1[u], v_1[u], u_2[u], ...; W is None where there are no such vectors.
    """
    faults = faults_in_ordering(A, r, perm)
    if list(perm[: len(begin)]) != list(begin):
        faults.append(f"the ordering does not begin with {list(begin)}")
    if faults or W is None:
        return faults
    B = boundary(permuted(A, perm))
    for u, v in itertools.product(range(len(B)), repeat=int(2)):
        planes = range(0, len(W[u]), 2)
        if B[u][v] != sum(W[u][i] * W[v][i + 1] + W[u][i + 1] * W[v][i] for i in planes) % 2:
            faults.append(f"entry {u},{v} of the boundary is not that of the vectors' sum")
    return faults


# --- cases ------------------------------------------------------------------------------------


def subset_at(n, size, gidx):
    """The gidx-th subset (increasing list) of range(n) with that size, in lexicographic order."""
    subset, candidate = [], 0
    while len(subset) < size:
        with_candidate = math.comb(n - candidate - 1, size - len(subset) - 1)
        if gidx < with_candidate:
            subset.append(int(candidate))
        else:
            gidx -= with_candidate
        candidate += 1
    return subset


def index_of_subset(n, subset):
    """The inverse of subset_at; the subset is increasing."""
    gidx, low = 0, 0
    for position, member in enumerate(subset):
        for skipped in range(low, member):
            gidx += math.comb(n - skipped - 1, len(subset) - position - 1)
        low = member + 1
    return int(gidx)


# --- encoding ---------------------------------------------------------------------------------


class Formula:
    """Clauses and XOR equations over variables 1, 2, 3, ...; a matrix entry None is known zero."""

    def __init__(self):
        self.variables, self.clauses, self.xors = 0, [], []

    def new(self):
        """A fresh variable."""
        self.variables += 1
        return int(self.variables)

    def new_matrix(self, rows, columns):
        """A rows x columns matrix of fresh variables."""
        return [[self.new() for _ in range(columns)] for _ in range(rows)]

    def clause(self, *literals):
        """At least one of the literals holds."""
        self.clauses.append([int(literal) for literal in literals])

    def either(self, a, b):
        """A variable that is true iff a or b is; a may be None, which is false."""
        if a is None:
            return b
        c = self.new()
        self.clause(-a, c)
        self.clause(-b, c)
        self.clause(a, b, -c)
        return c

    def sum_is_zero(self, variables):
        """The sum over GF(2) of the variables is zero."""
        if len(variables) == 1:  # CryptoMiniSat's XOR interface is for two and more
            self.clause(-variables[0])
        elif variables:
            self.xors.append([int(variable) for variable in variables])

    def product(self, a, b):
        """A variable that equals a * b."""
        c = self.new()
        self.clause(-c, a)
        self.clause(-c, b)
        self.clause(c, -a, -b)
        return c

    def without_xors(self):
        """The clauses, and clauses for the XORs: of long ones, for pieces with fresh variables.

        The fresh variables come after those of the formula, which stays as it is.
        """
        clauses, fresh = list(self.clauses), itertools.count(int(self.variables + 1))
        for xor in self.xors:
            rest = xor
            while len(rest) > LONGEST_XOR:
                carry, piece, rest = next(fresh), rest[: LONGEST_XOR - 1], rest[LONGEST_XOR - 1 :]
                clauses += xor_clauses([carry, *piece])
                rest = [carry, *rest]
            clauses += xor_clauses(rest)
        return clauses


def xor_clauses(variables):
    """Clauses that say that the variables' sum is zero: each forbids an odd number of ones."""
    places = range(len(variables))
    return [
        [-variable if place in ones else variable for place, variable in enumerate(variables)]
        for number in range(1, len(variables) + 1, 2)
        for ones in itertools.combinations(places, number)
    ]


def encode_ordering(formula, A):
    """Variables x[i][u], "position i holds vertex u", and T[i][j] = T[j][i], made to agree.

    Whoever sits at i, T[i][j] says whether j holds a neighbour: so the solver narrows down what j
    holds from x[i] and T, and, since j holds one vertex only, finds T from x[i] and x[j] as well.
    """
    order = len(A)
    x = formula.new_matrix(order, order)
    for line in [*x, *zip(*x, strict=True)]:
        formula.clause(*line)
        for a, b in itertools.combinations(line, 2):
            formula.clause(-a, -b)
    T = [[None] * order for _ in range(order)]
    for i, j in itertools.combinations(range(order), 2):
        T[i][j] = T[j][i] = formula.new()
    for i, j in itertools.permutations(range(order), int(2)):
        for u in range(order):
            formula.clause(-x[i][u], -T[i][j], *[x[j][v] for v in range(order) if A[u][v]])
            others = [x[j][v] for v in range(order) if v != u and not A[u][v]]
            formula.clause(-x[i][u], T[i][j], *others)
    return x, T


def encode_boundary(formula, T):
    """The n x n matrix dT: variables, with None where the parities leave nothing to add up."""
    order = len(T)
    B = [[None] * (order - 1) for _ in range(order - 1)]
    for u, v in itertools.combinations(range(order - 1), 2):
        terms = [T[i][j] for i, j in boundary_terms(order, u, v)]
        if len(terms) > 1:
            entry = formula.new()
            formula.sum_is_zero([entry, *terms])
            terms = [entry]
        if terms:
            B[u][v] = B[v][u] = terms[0]
    return B


def encode_kernel(formula, B, J):
    """Demand dT * Y = 0 with Y_J = identity; returns {(row k outside J, column c): variable}.

    It says that column J[c] of dT is the sum of those columns k outside J that have Y[k][c] = 1.
    This is the definition of the case, entry by entry, with nothing added or left out.
    """
    free = [k for k in range(len(B)) if k not in J]
    Y = {(k, c): formula.new() for c in range(len(J)) for k in free}
    for c, j in enumerate(J):
        for row in B:
            terms = [formula.product(row[k], Y[k, c]) for k in free if row[k] is not None]
            formula.sum_is_zero(terms if row[j] is None else [row[j], *terms])
    return Y


def encode_case(A, J, forbidden=()):
    """The formula of case J, with its x and Y; `forbidden` are beginnings of perm to rule out."""
    formula = Formula()
    x, T = encode_ordering(formula, A)
    Y = encode_kernel(formula, encode_boundary(formula, T), J)
    for prefix in forbidden:
        formula.clause(*[-x[i][v] for i, v in enumerate(prefix)])
    return formula, x, Y


def ordering_in(value, x):
    """The vertices that the model has at the positions, one after the other."""
    return [u for row in x for u, variable in enumerate(row) if value(variable)]


def solve_case(solver, A, J, forbidden=()):
    """A witness (perm, Y) of case J, as the solver has it and not yet verified, or None."""
    formula, x, Y = encode_case(A, J, forbidden)
    value = solver.solve(formula)
    if value is None:
        return None
    kernel = [[int(u == j) for j in J] for u in range(len(A) - 1)]
    for (k, c), variable in Y.items():
        kernel[k][c] = value(variable)
    return ordering_in(value, x), kernel


# --- solvers ------------------------------------------------------------------------------------
#
# `title` is what the log says of a solver. `solve` returns the value function on the formula's
# variables, 0 or 1, and None when the formula cannot be satisfied.

LONGEST_XOR = 6  # that becomes clauses uncut: 32 of them
CONFLICTS = 3000  # in a round of CaDiCaL's, some tenths of a second


class CryptoMiniSat:
    """The solver of pycryptosat, which takes XORs as they are; ImportError without it."""

    package = "pycryptosat"

    def __init__(self, threads):
        import pycryptosat

        self.library, self.threads = pycryptosat, int(threads)
        self.title = f"CryptoMiniSat (pycryptosat {pycryptosat.__version__}), threads={threads}"

    def solve(self, formula):
        solver = self.library.Solver(threads=self.threads)
        for clause in formula.clauses:
            solver.add_clause(clause)
        for variables in formula.xors:
            solver.add_xor_clause(variables, False)
        satisfiable, model = solver.solve()
        if satisfiable is None:  # it has handled a SIGINT, which is to end this process
            signal.raise_signal(signal.SIGINT)
            raise RuntimeError("the solver gave up")
        if not satisfiable:
            return None
        # A variable that no clause mentions may be missing from the model: either value will do.
        return lambda variable: int(variable < len(model) and bool(model[variable]))


class Cadical:
    """The solver CaDiCaL of python-sat, one thread, with XORs as clauses; ImportError without it."""

    package = "python-sat"

    def __init__(self, threads):
        import pysat
        from pysat.solvers import Cadical195

        self.new_solver = Cadical195
        self.title = f"CaDiCaL 1.9.5 (python-sat {pysat.__version__}), threads=1"
        if threads > 1:
            self.title += f"; it has no more, and SAGE_NUM_THREADS={threads} changes nothing"

    def solve(self, formula):
        # In the main thread python-sat would handle SIGINT, and end with a traceback.
        with concurrent.futures.ThreadPoolExecutor(int(1)) as pool:
            return pool.submit(self.solve_in_rounds, formula).result()

    def solve_in_rounds(self, formula):
        """What solve returns. CaDiCaL keeps what it has learned from one round to the next.

        Unlike CryptoMiniSat it holds the interpreter lock, so no heartbeat shows during a round.
        """
        with self.new_solver(bootstrap_with=formula.without_xors()) as solver:
            satisfiable = None
            while satisfiable is None:
                solver.conf_budget(int(CONFLICTS))
                satisfiable = solver.solve_limited()
            if not satisfiable:
                return None
            true = set(solver.get_model())
        return lambda variable: int(variable in true)


BACKENDS = {"cryptominisat": CryptoMiniSat, "cadical": Cadical}


def solver_asked_for(backend, threads):
    """The solver that --sat_backend names, for auto the first there is; UsageError if none is."""
    asked = list(BACKENDS.values()) if backend == "auto" else [BACKENDS[backend]]
    failures = []
    for solver in asked:
        try:
            return solver(threads)
        except ImportError as error:
            failures.append(f"{solver.package} cannot be imported by {sys.executable} ({error})")
    packages = " or ".join(solver.package for solver in asked)
    remedies = [
        f"install {solver.package} with `python -m pip install {solver.package}`,"
        f" under Sage with `sage -pip install {solver.package}`"
        for solver in asked
    ]
    if backend != "auto":
        others = " or ".join(["auto", *[name for name in BACKENDS if name != backend]])
        remedies.append(f"take --sat_backend {others}, if that solver will do")
    raise UsageError(
        f"--sat_backend {backend} needs {packages}, and {'; '.join(failures)}."
        f" Either {'; or '.join(remedies)}"
    )


# --- form ---------------------------------------------------------------------------------------


def encode_planes(formula, T, planes):
    """Demand that dT is the sum of that many hyperbolic planes; returns W, n x 2 planes."""
    order = len(T)
    W = formula.new_matrix(order - 1, 2 * planes)
    for u, v in itertools.combinations(range(order - 1), 2):
        terms = [T[i][j] for i, j in boundary_terms(order, u, v)]
        for i in range(0, 2 * planes, 2):
            terms += [formula.product(W[u][i], W[v][i + 1]), formula.product(W[u][i + 1], W[v][i])]
        formula.sum_is_zero(terms)
    return W


def encode_normal_planes(formula, W):
    """Leave of all W with the same sum of planes one: what the symplectic group moves is fixed.

    Elimination with the first entry that is not zero as pivot gives every alternating matrix B
    of rank <= 2h exactly one form.  Let (k, l), k < l, be the first pair in lexicographic order
    with B[k][l] = 1; u is row l of B and v is row k; B + u v^T + v u^T is zero in the rows and
    columns k and l and has rank 2 less; go on with that.  So (u, v)[j] = (0, 0) for j < k, it is
    (1, 0) at k; v[j] = 0 for j < l, and (u, v)[l] = (0, 1); all later planes are zero up to k,
    and at l.  Conversely vectors like that, or all zero, are the ones which elimination finds.
    """
    for first in range(0, len(W[0]), 2):
        some_u = some_v = None  # whether u, v are anything but zero before this row
        for row in W:
            u, v, later = row[first], row[first + 1], row[first + 2 :]
            formula.clause(-v, *([some_u] if some_u else []))
            formula.clause(-u, -v, *([some_v] if some_v else []))
            for variable in later:
                formula.clause(-variable, *([some_u] if some_u else []))
                formula.clause(-variable, -v, *([some_v] if some_v else []))
            some_u, some_v = formula.either(some_u, u), formula.either(some_v, v)
        formula.clause(-some_u, some_v)


def encode_reversal(formula, T):
    """Of an ordering and its reverse leave one: that whose first row of T is not the smaller.

    Reversed positions reverse the rows and columns of T, and d_k becomes d_(N-1-k) reversed: so
    dT is reversed as a whole and keeps its rank.  Automorphisms leave T as it is, so this may
    be demanded beside what they leave.  It moves solutions from one case to another.
    """
    n = len(T) - 1
    equal = None  # whether the rows agree up to here
    for j in range(1, n + 1):
        ours, theirs = T[0][j], T[n][n - j]
        if ours == theirs:  # the entry between the ends
            continue
        formula.clause(ours, -theirs, *([-equal] if equal else []))
        before, equal = equal, formula.new()
        for a, b in ((ours, theirs), (-ours, -theirs)):
            formula.clause(equal, -a, -b, *([-before] if before else []))


def encode_form(A, planes, begin=(), forbidden=(), normal=True, reversal=False):
    """The formula of a case of form, with its x and W."""
    formula = Formula()
    x, T = encode_ordering(formula, A)
    W = encode_planes(formula, T, planes)
    if normal and planes:
        encode_normal_planes(formula, W)
    if reversal:
        encode_reversal(formula, T)
    for prefix in forbidden:
        formula.clause(*[-x[i][v] for i, v in enumerate(prefix)])
    for position, vertex in enumerate(begin):
        formula.clause(x[position][vertex])
    return formula, x, W


# --- prefix -------------------------------------------------------------------------------------


def reduced(word, basis):
    """The word after elimination by a basis: zero iff it is in its span."""
    for member in basis:
        word = min(word, operator.xor(word, member))
    return word


def basis_of(words):
    """A basis of the span over GF(2) of rows given as words of bits, each reduced by those before."""
    basis = []
    for word in words:
        rest = reduced(word, basis)
        if rest:
            basis.append(rest)
    return basis


def orderings(A, r, begin=(), group=None):
    """Yield (perm, rank of its dT) for the orderings of boundary rank <= r that begin so.

    One for each class under group, the least, as in redundant_prefixes: so `begin` must be one of
    the cubes.

    The vertex at position p decides column p-1 of dT down to the diagonal, and with it a leading
    submatrix, whose rank is at most that of dT.  By a row and a column more the rank of an
    alternating matrix stays as it is when the column is in the span of the others, and otherwise
    grows by two.  The column is the formula of the boundary, for all its rows at once.
    """
    order = len(A)
    even, odd = (sum(ONE << int(u) for u in range(parity, order, 2)) for parity in (0, 1))

    def extend(perm, near, words, rank, fixing):
        place = len(perm)
        if place == order:
            yield perm, rank
            return
        column, basis = int(place - 1), basis_of(words)
        for v in begin[place : place + 1] if place < len(begin) else range(order):
            if v in perm or not (len(fixing) == 1 or least_in_orbit(v, fixing)):
                continue
            grown, its_rank = words, rank
            if place:
                entries = near[v] & (even if column % 2 else odd)
                entries = operator.xor(entries, (near[v] >> ONE) & even)
                if (order - place) % 2:
                    entries = operator.xor(entries, near[perm[column]])
                entries &= (ONE << column) - ONE
                if reduced(entries, basis):
                    its_rank = int(rank + 2)
                    if its_rank > r:
                        continue
                grown = [word + ((entries >> u & ONE) << column) for u, word in enumerate(words)]
                grown.append(entries)
            # At which positions each vertex has a neighbour.
            nearer = [bits + (int(A[v][w]) << place) for w, bits in enumerate(near)]
            still = stabilizer(fixing, v) if len(fixing) > 1 else fixing
            yield from extend([*perm, v], nearer, grown, its_rank, still)

    yield from extend([], [ZERO] * order, [], ZERO, automorphisms(A) if group is None else group)


# --- log, state file, stop file -----------------------------------------------------------------


def say(text):
    """One line on standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def log(text):
    """One line stamped with the local time and its offset from UTC."""
    say(f"[{datetime.datetime.now().astimezone().isoformat(timespec='seconds')}] {text}")


def log_solver(solver):
    """Say which solver it is; nothing for None, where none is needed."""
    if solver:
        log(f"SOLVER {solver.title}")


def secure_output():
    """Wait until what was printed is on the disk, if standard output can be synced."""
    sys.stdout.flush()
    try:
        os.fsync(sys.stdout.fileno())
    except (ValueError, AttributeError):
        pass  # a stdout without a descriptor
    except OSError as error:  # a pipe or a terminal, or a file system that cannot
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP, errno.ENOSYS):
            raise


def sync_directory(path):
    """Make a rename in the directory of path outlive a power cut, where the file system can."""
    descriptor = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    with contextlib.suppress(OSError):  # Windows drives can't; at worst a case is repeated
        os.fsync(descriptor)
    os.close(descriptor)


def write_synced(path, text):
    """Write a new file; its mode follows the umask, since another user id may share it."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # left by a run that was killed here
    with open(path, "x", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_state(path, stride, offset, total):
    """The last gidx done, or None without a file; UsageError when it is not this partition's."""
    try:
        with open(path, "rb") as file:
            content = file.read(100)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"state file cannot be read: {error}") from error
    if re.fullmatch(rb"[0-9]{1,30}\s*", content) is None:
        problem = f"it should hold one integer, but holds {content[:40]!r}"
    elif int(content) % stride != offset:
        problem = f"{int(content)} is no case of offset {offset}, stride {stride}"
    elif int(content) >= total:
        problem = f"{int(content)} is beyond the last of {total} cases"
    else:
        return int(content)
    raise UsageError(
        f"state file {path} is corrupt: {problem}. Write the last gidx that the log reports as"
        " DONE into it, or remove it to start this partition from its beginning."
    )


def write_state(path, gidx):
    """Replace the state file; whoever looks sees the old integer or the new one."""
    write_synced(f"{path}.tmp", f"{gidx}\n")
    os.replace(f"{path}.tmp", path)
    sync_directory(path)


def add_to_stop_file(path, line):
    """Close the stop gate with this line; what an operator or another worker wrote stays."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        write_synced(temporary, f"{line}\n")
        os.link(temporary, path)  # appears complete, and never over an existing file
    except OSError:  # it exists, or this file system has no links
        with open(path, "a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            separator = "" if file.read() in (b"", b"\n") else "\n"
            file.write(f"{separator}{line}\n".encode("ascii"))  # one write, so lines don't mingle
            file.flush()
            os.fsync(file.fileno())
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_directory(path)


@contextlib.contextmanager
def heartbeat(seconds, place):
    """While the body runs, log a sign of life every so many seconds (none if 0)."""
    over, began = threading.Event(), time.monotonic()

    def beat():
        while not over.wait(seconds):
            log(f"HEARTBEAT {place} elapsed={time.monotonic() - began:.0f}s")

    if seconds:  # CryptoMiniSat releases the interpreter lock, CaDiCaL between two rounds
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
    try:
        yield
    finally:
        over.set()
        if seconds:
            thread.join()


# --- questions ----------------------------------------------------------------------------------
#
# What a partition goes through: `total` cases, of which `answer` settles one. It returns what the
# DONE line says of it, and a witness or None; `faults` checks the witness, `place` and `lines`
# are what the stop file and the log say of it.


class Gauge:
    """The cases J."""

    def __init__(self, A, rank, solver):
        self.A, self.rank, self.solver = A, rank, solver
        self.n = len(A) - 1
        self.total = math.comb(self.n, rank)
        self.forbidden = redundant_prefixes(automorphisms(A), len(A))

    def answer(self, gidx):
        J = subset_at(self.n, self.n - self.rank, gidx)
        witness = solve_case(self.solver, self.A, J, self.forbidden)
        return f"sat={witness is not None}", witness and (J, *witness)

    def faults(self, J, perm, Y):
        return faults_in_witness(self.A, self.rank, J, perm, Y)

    def lines(self, J, perm, Y):
        return f"J = {J}", f"Kernel basis Y, by rows: {Y}"


class Form:
    """The cubes, each one formula."""

    def __init__(self, A, rank, solver, depth):
        self.A, self.rank, self.solver = A, rank, solver
        self.group = automorphisms(A)
        self.cubes = cubes(self.group, len(A), depth)
        self.total = len(self.cubes)
        self.forbidden = redundant_prefixes(self.group, len(A))

    def answer(self, gidx):
        begin = self.cubes[gidx]
        witness = self.search(begin)
        return f"sat={witness is not None}", witness and ([*begin], *witness)

    def search(self, begin):
        """An ordering that begins so, not yet verified, and its vectors; or None."""
        formula, x, W = encode_form(self.A, self.rank // 2, begin, self.forbidden)
        value = self.solver.solve(formula)
        return value and (ordering_in(value, x), [[value(bit) for bit in row] for row in W])

    def faults(self, begin, perm, W):
        return faults_in_form(self.A, self.rank, begin, perm, W)

    def lines(self, begin, perm, W):
        return f"cube = {begin}", f"Vectors u, v of the form, by rows: {W}"


class Prefix(Form):
    """The cubes, each searched through."""

    def search(self, begin):
        found = next(orderings(self.A, self.rank, begin, self.group), None)
        return found and (found[0], None)

    def lines(self, begin, perm, W):
        return f"cube = {begin}", "No vectors: the search needs none"


class Exact:
    """How many of the N! orderings have which rank, for all ranks <= r, cube by cube."""

    def __init__(self, name, A, rank, depth):
        self.name, self.A, self.rank = name, A, rank
        self.group = automorphisms(A)
        self.cubes = cubes(self.group, len(A), depth)
        self.total = len(self.cubes)

    def answer(self, gidx):
        found = orderings(self.A, self.rank, self.cubes[gidx], self.group)
        ranks = collections.Counter(rank for _, rank in found)
        return tally({(self.name, rank): ranks[rank] * len(self.group) for rank in ranks}), None


class Sample:
    """The ranks of orderings drawn at random, a batch of one graph after a batch of the other."""

    def __init__(self, graphs, samples, batch, seed):
        self.graphs, self.samples, self.batch, self.seed = graphs, samples, batch, seed
        self.total = len(graphs) * -(-samples // batch)
        array_library()

    def answer(self, gidx):
        (name, A), turn = self.graphs[gidx % len(self.graphs)], gidx // len(self.graphs)
        size = min(self.batch, self.samples - turn * self.batch)
        counts = collections.Counter(sampled_ranks(A, size, self.seed, gidx).tolist())
        return tally({(name, rank): counts[rank] for rank in counts}), None


def tally(counts):
    """What a DONE line says of counts {(graph, rank): orderings}; `sagequeue progress` adds up."""
    pairs = (f"{name}:{rank}:{counts[name, rank]}" for name, rank in sorted(counts))
    return f"tally={','.join(pairs) or '-'}"


# --- ranks of many orderings at once --------------------------------------------------------------


def array_library():
    """NumPy; UsageError when it is not installed."""
    try:
        import numpy
    except ImportError as error:
        raise UsageError(
            f"--samples needs NumPy, which cannot be imported by {sys.executable} ({error}); install"
            " it with `python -m pip install numpy`"
        ) from error
    return numpy


def sampled_ranks(A, size, seed, batch):
    """Boundary ranks of `size` random orderings, an array: the batch of that number and seed.

    Sorting random words gives the orderings. The generator's raw words, unlike NumPy's
    distributions, are the same in every release.
    """
    numpy = array_library()
    generator = numpy.random.PCG64(numpy.random.SeedSequence([int(seed), int(batch)]))
    keys = generator.random_raw(int(size) * len(A)).reshape(int(size), len(A))
    return ranks_of_orderings(A, numpy.argsort(keys, axis=int(1), kind="stable"))


def ranks_of_orderings(A, perms):
    """Boundary ranks of orderings, an array (orderings x vertices) of vertices.

    A row of a matrix is a word of bits, and each step is taken for all orderings at once.
    """
    numpy = array_library()
    order = len(A)
    kind = numpy.uint16 if order <= 16 else numpy.uint32 if order <= 32 else numpy.uint64
    one = kind(int(1))
    rows = [sum(int(entry) << v for v, entry in enumerate(row)) for row in A]
    neighbours = numpy.array(rows, dtype=kind)
    vertex = [column.astype(kind) for column in perms.T]
    word = [neighbours[column] for column in perms.T]

    T = [[None] * order for _ in range(order)]
    for i, j in itertools.combinations(range(order), int(2)):
        T[i][j] = numpy.right_shift(word[i], vertex[j]) & one
    B = [numpy.zeros(len(perms), dtype=kind) for _ in range(order - 1)]
    for u, v in itertools.combinations(range(order - 1), int(2)):
        terms = [T[i][j] for i, j in boundary_terms(order, u, v)]
        if terms:
            entry = functools.reduce(numpy.bitwise_xor, terms)
            B[u] |= numpy.left_shift(entry, kind(int(v)))
            B[v] |= numpy.left_shift(entry, kind(int(u)))
    return ranks_of_words(B)


def ranks_of_words(rows):
    """Ranks over GF(2) of many matrices at once; rows[u] has everybody's row u, bits in a word.

    Row after row becomes everybody's pivot, at its lowest bit, and that bit is cleared from the
    rows below: so the rows that are not zero when their turn comes are as many as the rank.
    """
    numpy = array_library()
    zero, one = (rows[0].dtype.type(int(bit)) for bit in (0, 1))
    ranks = numpy.zeros(len(rows[0]), dtype=numpy.int64)
    for u, row in enumerate(rows):
        lowest = row & (~row + one)
        ranks += row.astype(bool)
        for other in rows[u + 1 :]:
            numpy.bitwise_xor(other, numpy.where(other & lowest, row, zero), out=other)
    return ranks


# --- the scan -----------------------------------------------------------------------------------


def report_solution(args, question, place, subject, perm, extra):
    """Print the verified witness and close the stop gate; on return both are on the disk."""
    told, detail = question.lines(subject, perm, extra)
    say(f"SAT found for {told}")
    say(f"Found perm: {perm}")
    say(f"Verified boundary rank: {rank_gf2(boundary(permuted(question.A, perm)))}")
    if args.want_solution:
        say(detail)
    secure_output()
    if args.stop_file:
        name, numbers = (part.replace(" ", "") for part in told.split("=", 1))
        listed = str(perm).replace(" ", "")
        add_to_stop_file(args.stop_file, f"SAT {place} {name}={numbers} perm={listed}")


def scan(args, question, cases):
    """Settle the cases (range of gidx) one after the other; returns the exit code.

    The state file advances only after a case's answer is settled, a solution's witness is verified,
    and both are printed and on the disk: a crash in between repeats a case and loses nothing.
    """
    stride = args.stride
    last, todo = None, cases
    if args.resume:
        last = read_state(args.state_file, stride, args.offset, question.total)
        if last is not None:
            todo = cases[cases.index(last) + 1 :]
    log_solver(args.solver)
    for gidx in todo:
        if args.stop_file and os.path.exists(args.stop_file):
            done = "none" if last is None else last
            log(f"STOP  stop file present: {args.stop_file}; last gidx done={done}")
            return 0
        local = (gidx - args.offset) // stride
        where = f"gidx={gidx} local={local} off={args.offset} stride={stride}"
        if local % args.progress_every == 0:
            log(f"START {where}")
        began = time.monotonic()
        with heartbeat(args.heartbeat, where):
            note, witness = question.answer(gidx)
        if witness:
            faults = question.faults(*witness)
            if faults:
                subject, perm, _ = witness
                told, _ = question.lines(*witness)
                say(f"WITNESS REJECTED {where} {told} perm={perm}: {'; '.join(faults)}")
                return EXIT_UNVERIFIED
            place = f"gidx={gidx} off={args.offset} stride={stride}"
            report_solution(args, question, place, *witness)
        log(f"DONE  {where} {note} dt={time.monotonic() - began:.3f}s")
        if args.distribution or args.scan:  # the state file counts no case that the log may lose
            secure_output()
        if args.scan:
            write_state(args.state_file, gidx)
        last = gidx
        if witness:
            return 0
    log(f"COMPLETE off={args.offset} stride={stride} cases={len(cases)}")
    return 0


# --- self-test ----------------------------------------------------------------------------------


def selftest(solver):
    """Quick checks of the pieces against known answers; returns the exit code."""
    failures = []
    log_solver(solver)

    def check(name, holds):
        if not holds:
            failures.append(name)
            say(f"selftest FAILED: {name}")

    chance = random.Random(int(18))  # noqa: S311 - a sample, not a secret
    for order in range(2, 9):
        A = [[0] * order for _ in range(order)]
        for u, v in itertools.combinations(range(order), 2):
            A[u][v] = A[v][u] = chance.choice([0, 1])
        B = boundary(A)
        for u, v in itertools.combinations(range(order - 1), 2):
            by_formula = sum(A[i][j] for i, j in boundary_terms(order, u, v)) % 2
            check(f"formula of the boundary, order {order}", by_formula == B[u][v] == B[v][u])
    for name, size in (("petersen", 120), ("rook", 1152), ("shrikhande", 192)):
        check(f"automorphisms of {name}", len(automorphisms(GRAPHS[name]())) == size)
    known = [5, 13, 6, 10, 8, 4, 7, 11, 9, 1, 15, 3, 0, 12, 14, 2]
    check("boundary rank 6 of a rook ordering", rank_gf2(boundary(permuted(rook(), known))) == 6)
    subsets = [list(subset) for subset in itertools.combinations(range(6), 3)]
    numbered = [subset_at(6, 3, gidx) for gidx in range(len(subsets))]
    check("numbering of the subsets", numbered == subsets)
    indices = [index_of_subset(6, subset) for subset in subsets]
    check("index of a subset", indices == list(range(len(subsets))))
    A, J = petersen(), subset_at(9, 5, 0)
    forbidden = redundant_prefixes(automorphisms(A), len(A))
    witness = solve_case(solver, A, J, forbidden)
    check("petersen r=4 gidx=0 is SAT", witness and not faults_in_witness(A, 4, J, *witness))
    witness = solve_case(solver, A, subset_at(9, 6, 0), forbidden)
    check("petersen r=3 gidx=0 is UNSAT", witness is None)
    for r in (3, 4):
        for method, question in METHODS.items():
            asked = question(A, r, solver, 1)
            _, answer = asked.answer(0)
            right = answer and not asked.faults(*answer) if r == 4 else answer is None
            check(f"petersen r={r} by {method}", right)
    if not failures:
        say("selftest OK")
    return EXIT_TROUBLE if failures else 0


# --- least rank -----------------------------------------------------------------------------------


def least_rank(args, A):
    """Find the least boundary rank of any ordering, from below; returns the exit code."""
    log_solver(args.solver)
    for rank in range(0, len(A), 2):
        if rank > len(A) - 2:  # dT has N-1 rows: nothing to ask any more
            perm = list(range(len(A)))
            say(f"Found perm: {perm}")
            say(f"LEAST RANK {rank_gf2(boundary(permuted(A, perm)))}, as of every ordering")
            return 0
        question = METHODS[args.method](A, rank, args.solver, args.cube_depth)
        began, where = time.monotonic(), f"rank={rank}"
        for gidx in range(question.total):
            with heartbeat(args.heartbeat, f"{where} gidx={gidx}"):
                _, witness = question.answer(gidx)
            if not witness:
                continue
            faults = question.faults(*witness)
            if faults:
                say(f"WITNESS REJECTED {where} gidx={gidx} {witness[1]}: {'; '.join(faults)}")
                return EXIT_UNVERIFIED
            report_solution(args, question, f"{where} gidx={gidx}", *witness)
            say(f"LEAST RANK {rank}")
            return 0
        seconds = time.monotonic() - began
        log(f"REFUTED {where} cases={question.total} method={args.method} dt={seconds:.3f}s")
    raise AssertionError("every ordering has a rank")


# --- command line -------------------------------------------------------------------------------


METHODS = {"form": Form, "prefix": Prefix}  # and gauge, whose cases are others


def parser():
    """The command line's options."""
    # Defaults are strings, so that argparse makes ints of them and not Sage's preparser Integers.
    command = argparse.ArgumentParser(
        description="Search a vertex ordering with boundary rank at most r, case by case.",
        allow_abbrev=False,
    )
    graph = command.add_argument_group("the graph, one of")
    graph.add_argument("--graph", choices=sorted(GRAPHS), action="append")
    graph.add_argument("--graph6", metavar="STRING", help="a graph in graph6 form")
    graph.add_argument("--adjacency", metavar="FILE", help="rows of 0 and 1")
    mode = command.add_argument_group("what to do, one of").add_mutually_exclusive_group(
        required=True
    )
    every = "all cases of the partition"
    mode.add_argument("--scan", "--scan_all_J", action="store_true", help=every)
    mode.add_argument("--J", metavar="A,B,...", help="this one case of gauge; keeps no state file")
    mode.add_argument("--min_rank", action="store_true", help="the least R that has an ordering")
    many = "how many orderings have which rank: all, of rank <= R if given, or --samples of them"
    mode.add_argument("--distribution", action="store_true", help=many)
    mode.add_argument("--selftest", action="store_true", help="check this script, in seconds")
    add = command.add_argument
    add("--rank", type=int, metavar="R", help="0 .. N-2 for a graph on N vertices")
    add("--method", choices=["gauge", *METHODS], help="default: gauge; for --min_rank: form")
    depth = "vertices that a case of form, prefix or a distribution begins with, default 2"
    add("--cube_depth", type=int, metavar="D", help=depth)
    add("--samples", type=int, metavar="M", help="random orderings of each graph")
    add("--batch", type=int, metavar="B", help="random orderings a case, default 100000")
    add("--seed", type=int, metavar="X", help="of the random orderings, default 0")
    add("--stride", type=int, default="1", metavar="S", help="number of partitions")
    add("--offset", type=int, default="0", metavar="K", help="this partition, 0 .. S-1")
    add("--resume", action="store_true", help="go on after the state file's case")
    default_state = "default: beside the script, for gauge state_<graph>_r<R>_stride<S>_off<K>.txt"
    add("--state_file", metavar="PATH", help=default_state)
    gate = "end before the next case if this file exists; written when a solution is found"
    add("--stop_file", metavar="PATH", help=gate)
    add("--progress_every", type=int, default="1", metavar="M", help="log the start of every M-th case")
    beat = f"sign of life during a case; with CaDiCaL after rounds of {CONFLICTS} conflicts only"
    add("--heartbeat", type=float, default="0", metavar="SECS", help=beat)
    add("--want_solution", action="store_true", help="print the kernel basis or the vectors too")
    add("--solver", choices=["sat"], default="sat")
    first = "default: auto, CryptoMiniSat if pycryptosat is installed, else CaDiCaL of python-sat"
    add("--sat_backend", choices=["auto", *BACKENDS], default="auto", help=first)
    return command


def arguments(argv):
    """The parsed command line; argparse ends the process with exit code 2 when it is wrong."""
    command = parser()
    args = command.parse_args(argv)
    if args.selftest:
        return args
    try:
        args.graphs = graphs_asked_for(args)
    except UsageError as error:
        command.error(str(error))
    refuse_nonsense(command, args)
    _, A = args.graphs[0]
    order, sampling = len(A), args.samples is not None
    if args.method is None:
        args.method = "form" if args.min_rank else "gauge"
    if args.cube_depth is None:
        args.cube_depth = min(2, order)
    args.batch, args.seed = args.batch or 100000, args.seed or 0
    if not 0 <= args.cube_depth <= order:
        command.error(f"--cube_depth {args.cube_depth}: must be 0 .. {order} for this graph")
    if args.distribution and args.rank is None and not sampling:
        args.rank = order - 1
    highest = order - 1 if args.distribution else order - 2  # at N-1 there is nothing to ask
    if args.rank is not None and not 0 <= args.rank <= highest:
        name = args.graphs[0][0]
        command.error(f"--rank {args.rank}: impossible for {name}, must be 0 .. {highest}")
    if args.J is not None:
        args.J = subset_asked_for(command, args, order)
    return args


def graphs_asked_for(args):
    """The graphs of the command line as (name, adjacency matrix); UsageError when there is none."""
    given = [name for name in ("graph", "graph6", "adjacency") if getattr(args, name) is not None]
    if len(given) != 1:
        raise UsageError("one of --graph, --graph6 and --adjacency is required, and no more")
    if args.graph:
        if len(set(args.graph)) < len(args.graph):
            raise UsageError("--graph: the same graph twice")
        return [(name, GRAPHS[name]()) for name in args.graph]
    A = from_graph6(args.graph6) if args.graph6 is not None else from_adjacency_file(args.adjacency)
    digest = hashlib.sha256(repr([[int(entry) for entry in row] for row in A]).encode("ascii"))
    return [(f"graph-{digest.hexdigest()[:8]}", A)]


def refuse_nonsense(command, args):
    """End with an error when options do not go together, or are out of range."""

    def only_with(condition, option, what):
        if getattr(args, option) is not None and not condition:
            command.error(f"--{option} goes with {what} only")

    sampling = args.samples is not None
    only_with(args.distribution, "samples", "--distribution")
    only_with(sampling, "batch", "--samples")
    only_with(sampling, "seed", "--samples")
    only_with(not args.distribution, "method", "--scan and --min_rank")
    cubed = args.min_rank or (args.distribution and not sampling) or args.method in METHODS
    only_with(cubed, "cube_depth", "form, prefix and exact distributions")
    only_with(not args.min_rank and not sampling, "rank", "--scan, --J and exact distributions")
    only_with(not args.min_rank, "stop_file", "--scan, --J and --distribution")
    if len(args.graphs) > 1 and not sampling:
        command.error("--graph: more than one goes with --samples only")
    if args.rank is None and (args.scan or args.J is not None):
        command.error("--rank is required")
    if args.method in METHODS and args.J is not None:
        command.error(f"--J is a case of gauge, and not of {args.method}")
    if args.method == "gauge" and args.min_rank:
        command.error("--min_rank: gauge is not for that; form and prefix are")
    for name in ("samples", "batch", "stride", "progress_every"):
        value = getattr(args, name)
        if value is not None and value < 1:
            command.error(f"--{name} {value}: must be at least 1")
    if args.batch is not None and args.batch > MOST_IN_BATCH:
        command.error(f"--batch {args.batch}: must be at most {MOST_IN_BATCH}")
    if args.seed is not None and args.seed < 0:
        command.error(f"--seed {args.seed}: must be at least 0")
    if not 0 <= args.offset < args.stride:
        command.error(f"--offset {args.offset}: must be 0 .. {args.stride - 1} for this stride")
    if not (math.isfinite(args.heartbeat) and 0 <= args.heartbeat <= threading.TIMEOUT_MAX):
        command.error(f"--heartbeat {args.heartbeat}: must be a number of seconds, 0 for none")
    if args.J is not None or args.min_rank:
        mode = "--J is one case" if args.J is not None else "--min_rank is one question"
        if args.resume or args.state_file or args.stride > 1:
            command.error(f"{mode}: it takes no --stride, --offset, --resume or --state_file")


def subset_asked_for(command, args, order):
    """The subset J of the command line, in increasing order."""
    size = order - 1 - args.rank
    try:
        J = sorted(int(part) for part in args.J.split(","))
    except ValueError:
        command.error(f"--J {args.J}: must be integers separated by commas")
    if len(set(J)) != size or len(J) != size or not set(J) <= set(range(order - 1)):
        command.error(f"--J {args.J}: must be {size} different integers of 0 .. {order - 2}")
    return J


def solver_threads():
    """Number of solver threads from SAGE_NUM_THREADS; one unless told otherwise."""
    text = os.environ.get("SAGE_NUM_THREADS", "1")
    if re.fullmatch("[1-9][0-9]{0,3}", text) is None:
        raise UsageError(f"SAGE_NUM_THREADS={text!r}: must be a positive number of threads")
    return int(text)


def question_asked(args):
    """The question that the command line puts, and the stem of its state files' default name."""
    name, A = args.graphs[0]
    if args.samples is not None:
        names = "-".join(name for name, _ in args.graphs)
        stem = f"state_{names}_samples{args.samples}_batch{args.batch}_seed{args.seed}"
        return Sample(args.graphs, args.samples, args.batch, args.seed), stem
    if args.distribution:
        stem = f"state_{name}_ranks{args.rank}_depth{args.cube_depth}"
        return Exact(name, A, args.rank, args.cube_depth), stem
    if args.method == "gauge":
        return Gauge(A, args.rank, args.solver), f"state_{name}_r{args.rank}"
    stem = f"state_{name}_{args.method}_r{args.rank}_depth{args.cube_depth}"
    return METHODS[args.method](A, args.rank, args.solver, args.cube_depth), stem


def main(argv):
    """Run the command line; returns the exit code."""
    args = arguments(argv)
    # No solver looks at Python's signals, so let Ctrl-C end the process as SIGTERM does.
    # That is safe at any moment: the state file is only ever replaced whole.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        threads, args.solver = solver_threads(), None
        if args.selftest or not (args.distribution or args.method == "prefix"):
            args.solver = solver_asked_for(args.sat_backend, threads)
        if args.selftest:
            return selftest(args.solver)
        if args.min_rank:
            return least_rank(args, args.graphs[0][1])
        question, stem = question_asked(args)
        if args.J is not None:
            args.offset, gidx = 0, index_of_subset(question.n, args.J)
            return scan(args, question, range(gidx, gidx + 1))
        args.scan = True
        name = f"{stem}_stride{args.stride}_off{args.offset}.txt"
        beside_script = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), name)
        args.state_file = os.path.abspath(args.state_file or beside_script)
        return scan(args, question, range(args.offset, question.total, args.stride))
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        print(f"error: {error}; when that is mended, go on with --resume", file=sys.stderr)
        return EXIT_TROUBLE


if __name__ == "__main__":
    sys.exit(int(main(sys.argv[1:])))
