"""Connected pieces of a tissue, found on voxels: a cavity belongs to what is around it, by itself.

On a surface it would be a piece of its own, and keeping the largest would fill it. Voxels are joined through their six
faces, as flying edges joins them. Only runs of voxels along rows are kept, so it takes little memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from pacs.mesh.field import Field, Slab, WithoutField

_SLAB_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Pieces:
    """The pieces of a field.

    Attributes
    ----------
    starts, ends : of each run of voxels along a row, linear indices, `ends` not included; sorted.
    labels : of each run, the number of its piece, from 0.
    voxels : of each piece, how many.
    at_sides : of each piece, whether it touches the first or last voxel of a row or column that is not padding.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    labels: NDArray[np.int32]
    voxels: NDArray[np.int64]
    at_sides: NDArray[np.bool_]

    def without(self, field: Field, dropped: NDArray[np.bool_]) -> Field:
        """Return `field` without the pieces that are `dropped`."""
        runs = dropped[self.labels]
        return WithoutField(field, self.starts[runs], self.ends[runs]) if runs.any() else field


def find_pieces(
    field: Field,
    progress: Callable[[float], None] = lambda _fraction: None,
    check: Callable[[], None] = lambda: None,
) -> Pieces:
    """Find the pieces of `field`.

    Parameters
    ----------
    check : called now and then; raises if it is not wanted any more.
    """
    starts, ends = _runs(field, progress, check)
    _, rows, columns = field.shape
    pairs = [_touching(starts, ends, distance) for distance in (columns, rows * columns)]
    one, other = (np.concatenate(sides) for sides in zip(*pairs, strict=True))
    graph = sparse.coo_array((np.ones(len(one), dtype=np.bool_), (one, other)), shape=(len(starts), len(starts)))
    check()
    count, labels = csgraph.connected_components(graph, directed=False)
    voxels = np.bincount(labels, weights=ends - starts, minlength=count).astype(np.int64)
    return Pieces(starts, ends, labels, voxels, _at_sides(starts, ends, labels, count, (rows, columns)))


def _runs(
    field: Field, progress: Callable[[float], None], check: Callable[[], None]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    slices, rows, columns = field.shape
    height = max(1, _SLAB_BYTES // (rows * columns))
    found = []
    for first in range(0, slices, height):
        check()
        values = field.slab(first, min(slices, first + height))
        found.append(_changes(values, field.level) + first * rows * columns)
        progress(first / slices)
    changes = np.concatenate(found)
    # The outermost layer is outside, so runs begin and end in pairs and none goes from one row to the next.
    return changes[::2], changes[1::2]


def _changes(values: Slab, level: float) -> NDArray[np.int64]:
    threshold = math.floor(level) if values.dtype.kind in "iu" else level
    inside = (values > threshold).reshape(-1)
    return np.flatnonzero(inside[1:] != inside[:-1]) + 1


def _touching(
    starts: NDArray[np.int64], ends: NDArray[np.int64], distance: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of runs that overlap when one is moved by `distance` voxels."""
    first = np.searchsorted(ends, starts - distance, side="right")
    last = np.searchsorted(starts, ends - distance, side="left")
    counts = np.maximum(last - first, 0)
    one = np.repeat(np.arange(len(starts)), counts)
    other = np.repeat(first - np.concatenate(([0], np.cumsum(counts)[:-1])), counts) + np.arange(int(counts.sum()))
    return one, other


def _at_sides(
    starts: NDArray[np.int64], ends: NDArray[np.int64], labels: NDArray[np.int32], count: int, plane: tuple[int, int]
) -> NDArray[np.bool_]:
    rows, columns = plane
    row = starts // columns % rows
    at_side = (row == 1) | (row == rows - 2) | (starts % columns == 1) | (ends % columns == columns - 1)
    sides = np.zeros(count, dtype=np.bool_)
    sides[labels[at_side]] = True
    return sides
