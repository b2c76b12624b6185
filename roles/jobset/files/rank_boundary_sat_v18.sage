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

T is symmetric with zero diagonal, hence so is dT.

The cases.  rank(dT) <= r means that the kernel of dT contains a space of dimension n-r = kdim.
A space of that dimension has a basis Y (n x kdim) that is the identity on some kdim rows J.  So
the answer is yes iff it is yes for one of the C(n, kdim) subsets J of {0 .. n-1}:

    case J:  are there perm and Y with  dT * Y = 0  and  Y_J = identity?

Case number gidx is the gidx-th such subset in lexicographic order.  Partition K of S takes the
cases K, K+S, K+2S, ...

    python rank_boundary_sat_v18.sage --graph petersen --rank 3 --scan_all_J --stride 4 --offset 0
    sage   rank_boundary_sat_v18.sage --graph rook --rank 3 --J 0,1,2,3,4,5,6,7,8,9,10,11

Exit codes: 0 scan complete, stop file present, or solution found; 1 self-test failed or a file
could not be written; 2 wrong arguments, corrupt state file or no pycryptosat; 3 the solver gave
a solution that does not verify.  SAGE_NUM_THREADS sets the solver's threads (1 if unset).

The text is plain Python and also survives Sage's preparser, which turns the literal 3 into
Integer(3): no caret, no literal with a decimal point, and int() where a C extension reads.
"""

import argparse
import contextlib
import datetime
import itertools
import math
import os
import random
import re
import signal
import stat
import sys
import threading
import time

EXIT_TROUBLE, EXIT_USAGE, EXIT_UNVERIFIED = int(1), int(2), int(3)


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


def automorphisms(A):
    """All automorphisms of the graph as tuples g with g[vertex] = image, by backtracking."""
    found = []

    def extend(images):
        u = len(images)
        if u == len(A):
            found.append(tuple(images))
            return
        for v in range(len(A)):
            if v not in images and all(A[v][images[w]] == A[u][w] for w in range(u)):
                extend([*images, v])

    extend([])
    return found


def redundant_prefixes(group, order):
    """Beginnings (tuples of vertices) that a perm need not have, given the automorphism group.

    For an automorphism g, perm and g o perm give the same T, so of each orbit of orderings one
    is enough, and we keep the lexicographically least.  In it, perm[m] is the least vertex of its
    orbit under the automorphisms that fix perm[0 .. m-1]: otherwise such a one makes it less.
    The beginnings returned are those where this fails for the first time at their last entry.
    No case changes its verdict: dT depends on perm through T only.
    """

    def extend(prefix, fixing):
        if len(fixing) == 1:
            return
        for v in range(order):
            if v in prefix:
                continue
            if min(g[v] for g in fixing) < v:
                yield (*prefix, v)
            else:
                yield from extend((*prefix, v), [g for g in fixing if g[v] == v])

    return list(extend((), group))


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


def faults_in_witness(A, r, J, perm, Y):
    """What is wrong with (perm, Y) as an answer to case J: sentences, none if it is right.

    Uses nothing of the encoding: the boundary comes from its definition, not from the formula.
    """
    n = len(A) - 1
    if sorted(perm) != list(range(len(A))):
        return [f"not a permutation of 0..{n}: {perm}"]
    if len(Y) != n or any(len(row) != len(J) for row in Y):
        return [f"Y is not a {n} x {len(J)} matrix"]
    faults, B = [], boundary(permuted(A, perm))
    columns = range(len(J))
    product = [[sum(B[u][w] * Y[w][c] for w in range(n)) % 2 for c in columns] for u in range(n)]
    if any(any(row) for row in product):
        faults.append("boundary * Y is not zero")
    if any(Y[j][c] != int(b == c) for b, j in enumerate(J) for c in columns):
        faults.append("Y restricted to the rows J is not the identity")
    if rank_gf2(B) > r:
        faults.append(f"the boundary has rank {rank_gf2(B)}, which is more than {r}")
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

    def sum_is_zero(self, variables):
        """The sum over GF(2) of the variables is zero."""
        if len(variables) == 1:  # the solver's XOR interface is for two and more
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


def solver_class():
    """CryptoMiniSat's Solver; UsageError when it is not installed."""
    try:
        from pycryptosat import Solver
    except ImportError as error:
        raise UsageError(
            f"the SAT solver pycryptosat cannot be imported by {sys.executable} ({error}); install"
            " it with `python -m pip install pycryptosat`, under Sage with"
            " `sage -pip install pycryptosat`"
        ) from error
    return Solver


def solve_case(A, J, forbidden=(), threads=1):
    """A witness (perm, Y) of case J, as the solver has it and not yet verified, or None."""
    formula, x, Y = encode_case(A, J, forbidden)
    solver = solver_class()(threads=int(threads))
    for clause in formula.clauses:
        solver.add_clause(clause)
    for variables in formula.xors:
        solver.add_xor_clause(variables, False)
    satisfiable, model = solver.solve()
    if satisfiable is None:
        raise RuntimeError(f"the solver gave up on J = {J}")
    if not satisfiable:
        return None

    def value(variable):
        # A variable that no clause mentions may be missing from the model: either value will do.
        return int(variable < len(model) and bool(model[variable]))

    perm = [u for row in x for u, variable in enumerate(row) if value(variable)]
    kernel = [[int(u == j) for j in J] for u in range(len(A) - 1)]
    for (k, c), variable in Y.items():
        kernel[k][c] = value(variable)
    return perm, kernel


# --- log, state file, stop file -----------------------------------------------------------------


def say(text):
    """One line on standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def log(text):
    """One line stamped with the local time and its offset from UTC."""
    say(f"[{datetime.datetime.now().astimezone().isoformat(timespec='seconds')}] {text}")


def secure_output():
    """When standard output is a file, wait until what was printed is on the disk."""
    sys.stdout.flush()
    with contextlib.suppress(ValueError, AttributeError):  # a stdout without a descriptor
        if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            os.fsync(sys.stdout.fileno())


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

    if seconds:  # the solver releases the interpreter lock while it works
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
    try:
        yield
    finally:
        over.set()
        if seconds:
            thread.join()


# --- the scan -----------------------------------------------------------------------------------


def report_solution(args, place, J, perm, Y, rank):
    """Print the verified witness and close the stop gate; on return both are on the disk."""
    say(f"SAT found for J = {J}")
    say(f"Found perm: {perm}")
    say(f"Verified boundary rank: {rank}")
    if args.want_solution:
        say(f"Kernel basis Y, by rows: {Y}")
    secure_output()
    if args.stop_file:
        listed_J, listed_perm = (str(numbers).replace(" ", "") for numbers in (J, perm))
        add_to_stop_file(args.stop_file, f"SAT {place} J={listed_J} perm={listed_perm}")


def scan(args, A, cases, total):
    """Solve the cases (range of gidx) one after the other; returns the exit code.

    The state file advances only after a case's answer is settled and, for a solution, after the
    witness is verified, printed and safe: a crash in between repeats a case and loses nothing.
    """
    n, stride = len(A) - 1, args.stride
    last, todo = None, cases
    if args.resume:
        last = read_state(args.state_file, stride, args.offset, total)
        if last is not None:
            todo = cases[cases.index(last) + 1 :]
    forbidden = redundant_prefixes(automorphisms(A), len(A))
    for gidx in todo:
        if args.stop_file and os.path.exists(args.stop_file):
            done = "none" if last is None else last
            log(f"STOP  stop file present: {args.stop_file}; last gidx done={done}")
            return 0
        local, J = (gidx - args.offset) // stride, subset_at(n, n - args.rank, gidx)
        where = f"gidx={gidx} local={local} off={args.offset} stride={stride}"
        shown = local % args.progress_every == 0
        if shown:
            log(f"START {where}")
        began = time.monotonic()
        with heartbeat(args.heartbeat, where):
            witness = solve_case(A, J, forbidden, args.threads)
        if witness:
            perm, Y = witness
            faults = faults_in_witness(A, args.rank, J, perm, Y)
            if faults:
                say(f"WITNESS REJECTED {where} J={J} perm={perm}: {'; '.join(faults)}")
                return EXIT_UNVERIFIED
            place = f"gidx={gidx} off={args.offset} stride={stride}"
            report_solution(args, place, J, perm, Y, rank_gf2(boundary(permuted(A, perm))))
        if args.scan_all_J:
            write_state(args.state_file, gidx)
        last = gidx
        if shown or witness:
            seconds = time.monotonic() - began
            log(f"DONE  {where} sat={witness is not None} dt={seconds:.3f}s")
        if witness:
            return 0
    log(f"COMPLETE off={args.offset} stride={stride} cases={len(cases)}")
    return 0


# --- self-test ----------------------------------------------------------------------------------


def selftest():
    """Quick checks of the pieces against known answers; returns the exit code."""
    failures = []

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
    witness = solve_case(A, J, forbidden)
    check("petersen r=4 gidx=0 is SAT", witness and not faults_in_witness(A, 4, J, *witness))
    check("petersen r=3 gidx=0 is UNSAT", solve_case(A, subset_at(9, 6, 0), forbidden) is None)
    if not failures:
        say("selftest OK")
    return EXIT_TROUBLE if failures else 0


# --- command line -------------------------------------------------------------------------------


def arguments(argv):
    """The parsed command line; argparse ends the process with exit code 2 when it is wrong."""
    # Defaults are strings, so that argparse makes ints of them and not Sage's preparser Integers.
    parser = argparse.ArgumentParser(
        description="Search a vertex ordering with boundary rank at most r, case by case.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--graph", choices=sorted(GRAPHS))
    add("--rank", type=int, metavar="R", help="0 .. N-2 for a graph on N vertices")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--scan_all_J", action="store_true", help="all cases of the partition")
    mode.add_argument("--J", metavar="A,B,...", help="this one case; keeps no state file")
    mode.add_argument("--selftest", action="store_true", help="check this script, in seconds")
    add("--stride", type=int, default="1", metavar="S", help="number of partitions")
    add("--offset", type=int, default="0", metavar="K", help="this partition, 0 .. S-1")
    add("--resume", action="store_true", help="go on after the state file's case")
    default_state = "default: state_<graph>_r<R>_stride<S>_off<K>.txt beside the script"
    add("--state_file", metavar="PATH", help=default_state)
    gate = "end before the next case if this file exists; written when a solution is found"
    add("--stop_file", metavar="PATH", help=gate)
    add("--progress_every", type=int, default="1", metavar="M", help="log every M-th case")
    add("--heartbeat", type=float, default="0", metavar="SECS", help="sign of life during a case")
    add("--want_solution", action="store_true", help="print the kernel basis too")
    add("--solver", choices=["sat"], default="sat")
    add("--sat_backend", choices=["auto", "cryptominisat"], default="auto", help="the same here")
    args = parser.parse_args(argv)
    if args.selftest:
        return args
    if args.graph is None or args.rank is None:
        parser.error("--graph and --rank are required")
    if args.stride < 1:
        parser.error(f"--stride {args.stride}: must be at least 1")
    if not 0 <= args.offset < args.stride:
        parser.error(f"--offset {args.offset}: must be 0 .. {args.stride - 1} for this stride")
    if args.progress_every < 1:
        parser.error(f"--progress_every {args.progress_every}: must be at least 1")
    if not (math.isfinite(args.heartbeat) and 0 <= args.heartbeat <= threading.TIMEOUT_MAX):
        parser.error(f"--heartbeat {args.heartbeat}: must be a number of seconds, 0 for none")
    order = len(GRAPHS[args.graph]())
    if not 0 <= args.rank <= order - 2:  # at N-1 there is nothing to ask: dT has N-1 rows
        parser.error(f"--rank {args.rank}: impossible for {args.graph}, must be 0 .. {order - 2}")
    if args.J is None:
        return args
    if args.resume or args.state_file or args.stride > 1:
        parser.error("--J is one case: it takes no --stride, --offset, --resume or --state_file")
    size = order - 1 - args.rank
    try:
        args.J = sorted(int(part) for part in args.J.split(","))
    except ValueError:
        parser.error(f"--J {args.J}: must be integers separated by commas")
    if len(set(args.J)) != size or len(args.J) != size or not set(args.J) <= set(range(order - 1)):
        parser.error(f"--J {args.J}: must be {size} different integers of 0 .. {order - 2}")
    return args


def solver_threads():
    """Number of solver threads from SAGE_NUM_THREADS; one unless told otherwise."""
    text = os.environ.get("SAGE_NUM_THREADS", "1")
    if re.fullmatch("[1-9][0-9]{0,3}", text) is None:
        raise UsageError(f"SAGE_NUM_THREADS={text!r}: must be a positive number of threads")
    return int(text)


def main(argv):
    """Run the command line; returns the exit code."""
    args = arguments(argv)
    # The solver does not look at Python's signals, so let Ctrl-C end the process as SIGTERM does.
    # That is safe at any moment: the state file is only ever replaced whole.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        args.threads = solver_threads()
        solver_class()
        if args.selftest:
            return selftest()
        A = GRAPHS[args.graph]()
        n = len(A) - 1
        total = math.comb(n, args.rank)
        if args.scan_all_J:
            name = f"state_{args.graph}_r{args.rank}_stride{args.stride}_off{args.offset}.txt"
            beside_script = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), name)
            args.state_file = os.path.abspath(args.state_file or beside_script)
            return scan(args, A, range(args.offset, total, args.stride), total)
        args.offset, gidx = 0, index_of_subset(n, args.J)
        return scan(args, A, range(gidx, gidx + 1), total)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        print(f"error: {error}; when that is mended, go on with --resume", file=sys.stderr)
        return EXIT_TROUBLE


if __name__ == "__main__":
    sys.exit(int(main(sys.argv[1:])))
