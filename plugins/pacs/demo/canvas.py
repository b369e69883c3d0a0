"""The canvas that solids are painted on: a block of voxels in patient coordinates.

Coordinates are millimeters of the patient coordinate system (DICOM PS3.3 C.7.6.2.1.1): x grows to the patient's
left, y to the back, z to the head.
"""

from __future__ import annotations

from collections.abc import Callable
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


class Canvas:
    """A block of voxels, painted solid over solid (what is painted later covers what was there).

    Parameters
    ----------
    x_mm, y_mm, z_mm : the places of the voxels' centers along each axis, ascending.
    background : value of the empty canvas.
    softness_mm : width of the ramp at each surface, about the size of a voxel: it stands for the partial volume.

    Attributes
    ----------
    values : shape (slices, rows, columns).
    """

    def __init__(self, x_mm: Array, y_mm: Array, z_mm: Array, *, background: float, softness_mm: float) -> None:
        self._axes = (z_mm.astype(np.float32), y_mm.astype(np.float32), x_mm.astype(np.float32))
        self._softness_mm = softness_mm
        self.values: Array = np.full([len(axis) for axis in self._axes], background, np.float32)

    def paint(self, solid: Solid, *layers: Layer) -> None:
        """Paint `solid`, layer by layer from the surface to the core."""
        window = self._window(solid.box)
        if window is None:
            return
        x, y, z = self._coordinates(window)
        # From here on distances count in widths of the ramp, so that each layer costs few passes over the memory.
        ramp = solid.distance(x, y, z) * np.float32(-1 / self._softness_mm)
        region = self.values[window]
        for layer in layers:
            coverage = np.clip(ramp + np.float32(0.5 - layer.depth_mm / self._softness_mm), 0, 1)
            shade = layer.shade(x, y, z) if callable(layer.shade) else np.float32(layer.shade)
            coverage *= shade - region
            region += coverage

    def _window(self, box: Box) -> tuple[slice, slice, slice] | None:
        """Return the part of the canvas that `box` (and the ramp around it) covers, None when it covers nothing."""
        window = []
        for axis, low, high in zip(self._axes, reversed(box.low), reversed(box.high), strict=True):
            start, stop = np.searchsorted(axis, (low - self._softness_mm, high + self._softness_mm))
            if start == stop:
                return None
            window.append(slice(int(start), int(stop)))
        return window[0], window[1], window[2]

    def _coordinates(self, window: tuple[slice, slice, slice]) -> tuple[Array, Array, Array]:
        z, y, x = (axis[part] for axis, part in zip(self._axes, window, strict=True))
        return x[None, None, :], y[None, :, None], z[:, None, None]
