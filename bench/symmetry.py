"""Whether cubes and forbidden beginnings leave an ordering of every class under automorphisms.

The workload looks for the lexicographically least ordering of each class only. That is right if

1. every g that is used here preserves adjacency: then perm and g o perm have the same boundary;
2. every forbidden beginning has a smaller image: no least ordering begins so;
3. every beginning of the cubes' length that has no smaller image is a cube: so each least ordering
   begins with a cube. (Cubes with a smaller image would be wasted, so there must be none.)

The automorphisms are found anew, in another way than the workload's, and each is tried; that none
is missing matters to nothing but the last sentence.
"""

# ruff: noqa: N803 - matrices have the capital names of the formulas

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy

Matrix = Sequence[Sequence[int]]
Group = numpy.ndarray[tuple[int, int], numpy.dtype[numpy.int64]]


def images_fitting(A: Matrix) -> Iterator[tuple[int, ...]]:
    """Automorphisms: always place next what has the fewest vertices left to go to."""
    order = len(A)
    near = [sum(entry << v for v, entry in enumerate(row)) for row in A]
    far = [
        sum((1 - entry) << v for v, entry in enumerate(row)) & ~(1 << u) for u, row in enumerate(A)
    ]

    def place(choices: dict[int, int], images: dict[int, int]) -> Iterator[tuple[int, ...]]:
        if not choices:
            yield tuple(images[u] for u in range(order))
            return
        u = min(choices, key=lambda w: choices[w].bit_count())
        for v in range(order):
            if choices[u] >> v & 1:
                rest = {
                    w: left & (near if A[u][w] else far)[v] for w, left in choices.items() if w != u
                }
                if all(rest.values()):
                    yield from place(rest, {**images, u: v})

    yield from place(dict.fromkeys(range(order), (1 << order) - 1), {})


def automorphisms(A: Matrix) -> Group:
    """The automorphism group, a row g of images for each; every one has been tried."""
    group: Group = numpy.array(list(images_fitting(A)), dtype=numpy.int64)
    matrix = numpy.array(A)
    for g in group:
        assert sorted(g) == list(range(len(A)))
        assert (matrix[numpy.ix_(g, g)] == matrix).all()
    return group


def has_smaller_image(group: Group, beginning: Sequence[int]) -> bool:
    """Whether some g of the group takes the beginning to a lexicographically smaller one."""
    images = group[:, list(beginning)]
    differs = images != numpy.array(beginning)
    rows = numpy.arange(len(group))
    first = differs.argmax(axis=1)
    return bool((differs.any(axis=1) & (images[rows, first] < numpy.array(beginning)[first])).any())


def faults_in_reduction(
    A: Matrix, depth: int, cubes: Sequence[tuple[int, ...]], forbidden: Sequence[tuple[int, ...]]
) -> list[str]:
    """What is wrong with what the workload leaves out: sentences, none if right."""
    group, order = automorphisms(A), len(A)
    faults = [
        f"forbidden beginning {prefix} is the least of its class"
        for prefix in forbidden
        if not has_smaller_image(group, prefix)
    ]
    if depth == 0:
        return faults if list(cubes) == [()] else [*faults, f"the cubes of depth 0 are {cubes}"]
    chosen = set(cubes)
    for beginning in itertools.permutations(range(order), depth):
        if has_smaller_image(group, beginning) == (beginning in chosen):
            what = "has a smaller image" if beginning in chosen else "is least in its class"
            kind = "cube" if beginning in chosen else "beginning left out"
            faults.append(f"{kind} {beginning} {what}")
    # Counted apart from that: the cubes' images are all beginnings, each of one cube.
    orbits = [set(map(tuple, group[:, list(cube)].tolist())) for cube in cubes]
    expected = math.perm(order, depth)
    if not sum(map(len, orbits)) == len(set().union(*orbits)) == expected:
        faults.append(f"the cubes have {sum(map(len, orbits))} images and not {expected}")
    return faults
