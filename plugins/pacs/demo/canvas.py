"""Scenes of solids, painted on a block of voxels in patient coordinates.

Coordinates are millimeters of the patient coordinate system (DICOM PS3.3 C.7.6.2.1.1): x grows to the patient's
left, y to the back, z to the head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

type Array = NDArray[np.float32]
type Point = tuple[float, float, float]
# What a solid looks like inside: one value, or a value for each place.
type Shade = float | Callable[[Array, Array, Array], Array]


@dataclass(frozen=True)
class Box:
    """An axis-parallel box in millimeters, outside of which a solid has nothing."""

    low: Point
    high: Point

    @classmethod
    def around(cls, center: Point, reach_mm: Point) -> Box:
        """Make the box that reaches `reach_mm` to both sides of `center`."""
        low = tuple(middle - reach for middle, reach in zip(center, reach_mm, strict=True))
        high = tuple(middle + reach for middle, reach in zip(center, reach_mm, strict=True))
        return cls((low[0], low[1], low[2]), (high[0], high[1], high[2]))


class Solid(Protocol):
    """Something with an inside. Solids are immutable, so threads may share them."""

    @property
    def box(self) -> Box:
        """Where the solid may be."""

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return about how far each place is outside of the surface, in millimeters; negative inside.

        `x`, `y` and `z` have the shapes (1, 1, columns), (1, rows, 1) and (slices, 1, 1); the answer broadcasts to
        (slices, rows, columns).
        """


@dataclass(frozen=True)
class Layer:
    """One material of a solid, from `depth_mm` under its surface inwards."""

    shade: Shade
    depth_mm: float = 0.0


@dataclass(frozen=True)
class Stroke:
    """A solid with its layers, from the surface to the core: what is painted in one go."""

    solid: Solid
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, solid: Solid, *layers: Layer) -> Stroke:
        """Write a stroke shortly."""
        return cls(solid, layers)


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: the first center on each axis, the spacing and the count, in the order x, y, z."""

    first_mm: Point
    spacing_mm: Point
    counts: tuple[int, int, int]

    def axis(self, number: int) -> Array:
        """Return the centers along one axis (0 is x), in millimeters."""
        return (self.first_mm[number] + self.spacing_mm[number] * np.arange(self.counts[number])).astype(np.float32)


class Scene:
    """An ordered list of strokes; what comes later covers what was there."""

    def __init__(self, strokes: Iterable[Stroke]) -> None:
        self._strokes = tuple(strokes)
        boxes = [stroke.solid.box for stroke in self._strokes]
        self._low = np.array([box.low for box in boxes])
        self._high = np.array([box.high for box in boxes])

    def render(
        self, grid: Grid, *, background: float, softness_mm: float, block_mm: float = 48, threads: int = 2
    ) -> Array:
        """Return the values at the voxels of `grid`, shape (slices, rows, columns).

        Blocks of slices are painted by `threads` threads: numpy leaves the interpreter's lock while it computes.

        Parameters
        ----------
        background : value of empty space.
        block_mm : height of a block: high enough that small solids are painted in one go, low enough for the cache.
        softness_mm : width of the ramp at each surface, about the size of a voxel: it stands for the partial volume.
        """
        block_slices = max(1, round(block_mm / grid.spacing_mm[2]))
        volume = np.full(grid.counts[::-1], background, np.float32)
        x, y, z = (grid.axis(number) for number in range(3))

        def paint(start: int) -> None:
            part = slice(start, start + block_slices)
            self._paint(_Block(x, y, z[part], volume[part]), softness_mm)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(paint, range(0, grid.counts[2], block_slices)))
        return volume

    def _paint(self, block: _Block, softness_mm: float) -> None:
        corners = np.array([(axis[0], axis[-1]) for axis in (block.x, block.y, block.z)])
        reachable = (self._low - softness_mm <= corners[:, 1]) & (self._high + softness_mm >= corners[:, 0])
        for number in np.flatnonzero(reachable.all(axis=1)):
            low, high = self._low[number] - softness_mm, self._high[number] + softness_mm
            block.paint(self._strokes[number], low, high, softness_mm)


@dataclass(frozen=True)
class _Block:
    """A block of voxels: the places of their centers along each axis, and their values."""

    x: Array
    y: Array
    z: Array
    values: Array

    def paint(self, stroke: Stroke, low: NDArray[np.float64], high: NDArray[np.float64], softness_mm: float) -> None:
        """Paint `stroke`, which has nothing outside of the box from `low` to `high`."""
        columns, rows, slices = (
            slice(*np.searchsorted(axis, (first, last)))
            for axis, first, last in zip((self.x, self.y, self.z), low, high, strict=True)
        )
        region = self.values[slices, rows, columns]
        if not region.size:
            return
        x, y, z = self.x[None, None, columns], self.y[None, rows, None], self.z[slices, None, None]
        # From here on distances count in widths of the ramp, so that each layer costs few passes over the memory.
        ramp = stroke.solid.distance(x, y, z) * np.float32(-1 / softness_mm)
        for layer in stroke.layers:
            coverage = np.clip(ramp + np.float32(0.5 - layer.depth_mm / softness_mm), 0, 1)
            shade = layer.shade(x, y, z) if callable(layer.shade) else np.float32(layer.shade)
            coverage *= shade - region
            region += coverage
