"""Edges of triangles: whether each is between exactly two that run through it in opposite directions.

Neighbors in space are near each other in the arrays, so most edges are settled in chunks that fit the caches, on two
threads; what chunks share is looked at together.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_CHUNK_TRIANGLES = 100_000
_THREADS = 2
# A half-edge as one number: lower vertex, higher vertex, whether it runs from the higher to the lower.
_VERTEX_BITS = 31
_VERTEX_MASK = (1 << _VERTEX_BITS) - 1
_BOTH = 2


@dataclass(frozen=True)
class BadEdges:
    """Edges that are not as they should be.

    Attributes
    ----------
    boundary, non_manifold : how many have one triangle, and how many are otherwise wrong.
    vertices : shape (edges, 2), their ends.
    """

    boundary: int
    non_manifold: int
    vertices: NDArray[np.int64]

    def __bool__(self) -> bool:
        return bool(len(self.vertices))

    def __len__(self) -> int:
        return len(self.vertices)


def bad_edges(triangles: NDArray[np.int32]) -> BadEdges:
    """Find the bad edges of a surface by its indices, (n, 3)."""
    bounds = np.linspace(0, len(triangles), max(1, -(-len(triangles) // _CHUNK_TRIANGLES)) + 1).astype(np.int64)
    chunks = [triangles[start:stop] for start, stop in pairwise(bounds.tolist())]
    if len(chunks) == 1:
        return _judged(_sorted_half_edges(triangles))
    is_shared = _shared_vertices(chunks)
    with ThreadPoolExecutor(_THREADS) as pool:
        unsettled = list(pool.map(lambda chunk: _unsettled(chunk, is_shared), chunks))
    return _judged(np.sort(np.concatenate(unsettled)))


def _shared_vertices(chunks: Sequence[NDArray[np.int32]]) -> NDArray[np.bool_]:
    """Return of each vertex whether several chunks have it."""
    count = max(int(chunk.max()) for chunk in chunks) + 1
    seen, shared = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for chunk in chunks:
        low = int(chunk.min())
        own = np.zeros(int(chunk.max()) - low + 1, np.bool_)
        own[chunk - low] = True
        part = slice(low, low + len(own))
        shared[part] |= seen[part] & own
        seen[part] |= own
    return shared


def _unsettled(triangles: NDArray[np.int32], is_shared: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the half-edges that are not right within a chunk, or that other chunks may have, too."""
    keys = _sorted_half_edges(triangles)
    edges = keys >> 1
    same = edges[1:] == edges[:-1]
    # The first of exactly two, forward and then backward.
    first = same & ((keys[1:] - keys[:-1]) == 1)
    first[1:] &= ~same[:-1]
    first[:-1] &= ~same[1:]
    settled = np.zeros(len(keys), np.bool_)
    settled[:-1] = first
    settled[1:] |= first
    settled &= ~(is_shared[edges >> _VERTEX_BITS] & is_shared[edges & _VERTEX_MASK])
    return keys[~settled]


def _sorted_half_edges(triangles: NDArray[np.int32]) -> NDArray[np.int64]:
    keys = np.empty((3, len(triangles)), np.int64)
    for number, (one, other) in enumerate(((0, 1), (1, 2), (2, 0))):
        a, b, row = triangles[:, one], triangles[:, other], keys[number]
        row[:] = np.minimum(a, b)
        row <<= _VERTEX_BITS
        row |= np.maximum(a, b)
        row <<= 1
        row |= a > b
    flat = keys.reshape(-1)
    flat.sort()
    return flat


def _judged(keys: NDArray[np.int64]) -> BadEdges:
    """Judge sorted half-edges, all there are of each edge among them."""
    found, first, counts = np.unique(keys >> 1, return_index=True, return_counts=True)
    backward = np.add.reduceat(keys & 1, first) if len(keys) else keys
    is_bad = (counts != _BOTH) | (backward != 1)
    is_boundary = counts == 1
    bad = found[is_bad]
    ends = np.stack((bad >> _VERTEX_BITS, bad & _VERTEX_MASK), axis=1)
    return BadEdges(int(is_boundary.sum()), int((is_bad & ~is_boundary).sum()), ends)
