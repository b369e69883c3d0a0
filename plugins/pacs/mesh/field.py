"""The scalar of which a surface is made, slab by slab: inside is what is above `level`.

A slab is a few slices. Fields are stacked: a threshold of a volume, a box around it, holes closed, pieces taken out;
none of them holds more than a slab of its own, and a plain threshold hands out the volume itself.
Every field is below its level in the outermost layer of voxels, so every surface is closed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacs.mesh.recipe import Box
from pacs.mesh.volume import Volume

type Slab = NDArray[Any]
type Shape = tuple[int, int, int]

# An edge of the lattice is cut at least this far from its ends: nearer, float32 could not tell both apart.
_SHORTEST_CUT = 2.0**-14
_BLUR_SIGMA_VOXELS = 0.6
_BLUR_REACH = 2
# How much of its own side a voxel of a mask keeps, whatever its neighbors are: thin things do not vanish.
MASK_MARGIN = 0.1


class Field(Protocol):
    """A scalar on the lattice of a volume, or of a part of it."""

    @property
    def shape(self) -> Shape:
        """(slices, rows, columns)."""

    @property
    def level(self) -> float:
        """What is above it is inside; no voxel is equal to it."""

    def slab(self, first: int, last: int) -> Slab:
        """Return slices `first` to `last` (not included), C order. The caller must not change them."""


@dataclass(frozen=True)
class ThresholdField:
    """Voxels of integers above a value, which lies halfway between two integers.

    Attributes
    ----------
    outside : what to put into the outermost layer, if that is not below the level already.
    """

    voxels: Slab
    level: float
    outside: int | None = None

    @property
    def shape(self) -> Shape:
        """See `Field`."""
        return self.voxels.shape

    def slab(self, first: int, last: int) -> Slab:
        """See `Field`."""
        part = self.voxels[first:last]
        if self.outside is None:
            return np.ascontiguousarray(part)
        return sealed(part.copy(), first, self.shape, self.outside)


@dataclass(frozen=True)
class WindowField:
    """Voxels between `low` and `high` (-inf and inf are no ends), as the smaller distance to either."""

    voxels: Slab
    low: float
    high: float

    level = 0.0

    @property
    def shape(self) -> Shape:
        """See `Field`."""
        return self.voxels.shape

    def slab(self, first: int, last: int) -> Slab:
        """See `Field`."""
        values = self.voxels[first:last].astype(np.float32)
        distance = self._distance(values)
        near = np.abs(distance) < self._nearest
        distance[near] = np.where(distance[near] < 0, -self._nearest, self._nearest)
        return sealed(distance, first, self.shape, -float(self._nearest))

    def _distance(self, values: Slab) -> Slab:
        if math.isinf(self.high):
            return values - np.float32(self.low)
        over = np.float32(self.high) - values
        return over if math.isinf(self.low) else np.minimum(values - np.float32(self.low), over)

    @cached_property
    def _nearest(self) -> np.float32:
        """The smallest distance from the level that a voxel may have."""
        ends = [end for end in (self.low, self.high) if math.isfinite(end)]
        lowest, highest = float(self.voxels.min()), float(self.voxels.max())
        widest = max(max(abs(lowest - end), abs(highest - end)) for end in ends)
        smallest = _SHORTEST_CUT * widest
        return np.float32(min(smallest, 0.5) if self.voxels.dtype.kind in "iu" and smallest < 1 else smallest)


@dataclass(frozen=True)
class MaskField:
    """Voxels in and out, blurred so that the surface runs smoothly, yet each voxel stays on its side of it.

    Attributes
    ----------
    level : more than -`MASK_MARGIN`, less than `MASK_MARGIN`.
    least : the smallest voxel that is in.
    """

    mask: Slab
    level: float = 0.0
    least: int = 1

    @property
    def shape(self) -> Shape:
        """See `Field`."""
        return self.mask.shape

    def slab(self, first: int, last: int) -> Slab:
        """See `Field`."""
        start, stop = max(0, first - _BLUR_REACH), min(self.shape[0], last + _BLUR_REACH)
        part = self.mask[start:stop] >= self.least
        blurred = ndimage.gaussian_filter(
            part.astype(np.float32), _BLUR_SIGMA_VOXELS, mode="constant", radius=_BLUR_REACH
        )
        wanted = slice(first - start, last - start)
        inside, blurred = part[wanted], blurred[wanted] - np.float32(0.5)
        margin = np.float32(MASK_MARGIN)
        depth = np.where(inside, np.maximum(blurred, margin), np.minimum(blurred, -margin))
        return sealed(depth, first, self.shape, -1)


@dataclass(frozen=True)
class BoxField:
    """A field cut by a box along the patient's axes, which need not be those of the lattice.

    Attributes
    ----------
    affine : (column, row, slice, 1) of `field` -> LPS mm.
    contrast : of the field; a wall is a twentieth of it one voxel deep, so that within a tissue it alone is the cut.
    """

    field: Field
    affine: NDArray[np.float64]
    box: Box
    contrast: float

    level = 0.0

    @property
    def shape(self) -> Shape:
        """See `Field`."""
        return self.field.shape

    def slab(self, first: int, last: int) -> Slab:
        """See `Field`."""
        distance = self.field.slab(first, last).astype(np.float32)
        distance -= np.float32(self.field.level)
        depth = self._depth_voxels(first, last)
        near = depth < 1
        wall = depth[near]
        wall[np.abs(wall) < _SHORTEST_CUT] = -_SHORTEST_CUT
        distance[near] = np.minimum(distance[near], wall * np.float32(self.contrast / 20))
        return sealed(distance, first, self.shape, -self.contrast / 20)

    def _depth_voxels(self, first: int, last: int) -> NDArray[np.float32]:
        """Return how deep each voxel lies in the box, in steps of the lattice; negative outside."""
        slices, rows, columns = (
            np.arange(start, stop) for start, stop in zip((first, 0, 0), (last, *self.shape[1:]), strict=True)
        )
        depth = np.full((last - first, *self.shape[1:]), np.inf, dtype=np.float32)
        for axis, (low, high) in enumerate((self.box.x_mm, self.box.y_mm, self.box.z_mm)):
            along_column, along_row, along_slice, start = self.affine[axis]
            position = (
                (slices * along_slice + start)[:, None, None]
                + (rows * along_row)[None, :, None]
                + (columns * along_column)[None, None, :]
            )
            step = np.abs(self.affine[axis, :3]).max()
            np.minimum(depth, (position - low) / step, out=depth, casting="same_kind")
            np.minimum(depth, (high - position) / step, out=depth, casting="same_kind")
        return depth


@dataclass(frozen=True)
class ClosedField:
    """A field in which gaps narrower than twice `reach` voxels (slices, rows, columns) are filled: a grey closing."""

    field: Field
    reach: Shape

    @property
    def shape(self) -> Shape:
        """See `Field`."""
        return self.field.shape

    @property
    def level(self) -> float:
        """See `Field`."""
        return self.field.level

    def slab(self, first: int, last: int) -> Slab:
        """See `Field`."""
        start, stop = max(0, first - 2 * self.reach[0]), min(self.shape[0], last + 2 * self.reach[0])
        size = tuple(2 * far + 1 for far in self.reach)
        room, values = self._room(start, stop), self.field.slab(start, stop)
        # One after the other: no more than two of them are in memory.
        values = np.pad(values, room, constant_values=values.min())
        values = ndimage.maximum_filter(values, size, mode="nearest")
        closed = ndimage.minimum_filter(values, size, mode="nearest")
        first_inner = room[0][0] + first - start
        rows, columns = (slice(far, far + count) for far, count in zip(self.reach[1:], self.shape[1:], strict=True))
        inner = np.ascontiguousarray(closed[first_inner : first_inner + last - first, rows, columns])
        below = math.floor(self.level) if closed.dtype.kind in "iu" else self.level - 1
        return sealed(inner, first, self.shape, below)

    def _room(self, start: int, stop: int) -> tuple[tuple[int, int], ...]:
        """Return how many voxels to put around slices `start` to `stop`: beyond a border bodies widen, too.

        Cut off there they would not be taken back by as much, and reach the border.
        """
        up, down, across = self.reach
        return (up * (start == 0), up * (stop == self.shape[0])), (down, down), (across, across)


@dataclass(frozen=True)
class WithoutField:
    """A field without some runs of voxels: linear indices `starts` to `ends` (not included), sorted."""

    field: Field
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def shape(self) -> Shape:
        """See `Field`."""
        return self.field.shape

    @property
    def level(self) -> float:
        """See `Field`."""
        return self.field.level

    def slab(self, first: int, last: int) -> Slab:
        """See `Field`."""
        plane = self.shape[1] * self.shape[2]
        begin, end = np.searchsorted(self.starts, (first * plane, last * plane))
        values = self.field.slab(first, last)
        if begin == end:
            return values
        changed = values.copy()
        flat = changed.reshape(-1)
        below = math.floor(self.level) if changed.dtype.kind in "iu" else self.level - 1
        flat[_spread(self.starts[begin:end] - first * plane, self.ends[begin:end] - first * plane)] = below
        return changed


def _spread(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return all indices of the runs."""
    lengths = ends - starts
    offsets = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
    return offsets + np.arange(int(lengths.sum()))


def sealed(slab: Slab, first: int, shape: Shape, outside: float) -> Slab:
    """Put `outside` into what of the outermost layer of a field is in its `slab`, in place."""
    slab[:, 0] = slab[:, -1] = outside
    slab[:, :, 0] = slab[:, :, -1] = outside
    if first == 0:
        slab[0] = outside
    if first + len(slab) == shape[0]:
        slab[-1] = outside
    return slab


def threshold_field(volume: Volume, voxels: Slab, low: float | None, high: float | None) -> Field:
    """Return the field of the real values from `low` to `high` in `voxels`, a box of the volume's."""
    if low is not None and high is None and voxels.dtype.kind in "iu":
        return _integer_threshold(volume, voxels, low)
    ends = [math.nan if end is None else volume.stored(end) for end in (low, high)]
    if voxels.dtype.kind in "iu":
        ends = [ends[0] if math.isnan(ends[0]) else math.floor(ends[0]) + 0.5, ends[1]]
        ends[1] = ends[1] if math.isnan(ends[1]) else math.floor(ends[1]) + 0.5
    return WindowField(voxels, -math.inf if low is None else ends[0], math.inf if high is None else ends[1])


def _integer_threshold(volume: Volume, voxels: Slab, low: float) -> Field:
    kind = np.iinfo(voxels.dtype)
    # One value of room below, for what is taken out.
    level = min(max(math.floor(round(volume.stored(low), 6)) + 0.5, kind.min + 0.5), kind.max - 0.5)
    return ThresholdField(voxels, level, None if volume.outside < level else math.floor(level))
