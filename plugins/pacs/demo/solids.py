"""Analytic solids: ellipsoids, capsules, torsos and what can be cut from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pacs.demo.canvas import Array, Box, Point, Solid


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid.

    Attributes
    ----------
    radii_mm : along the ellipsoid's own axes.
    turn : rotation about x, y and z in degrees, applied in this order, from the patient's axes to its own.
    """

    center: Point
    radii_mm: Point
    turn: Point = (0.0, 0.0, 0.0)
    _axes: tuple[Point, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rotation = rotation_matrix(self.turn)
        object.__setattr__(self, "_axes", tuple(tuple(map(float, column)) for column in rotation.T))

    @property
    def box(self) -> Box:
        """Where the solid may be."""
        weighted = np.asarray(self._axes) * np.asarray(self.radii_mm)[:, None]
        reach = np.sqrt((weighted**2).sum(axis=0))
        return Box.around(self.center, (float(reach[0]), float(reach[1]), float(reach[2])))

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the distance to the surface, see `Solid`."""
        # The gauge function divided by the length of its gradient: exact for a sphere, good near any surface.
        x, y, z = (axis - np.float32(middle) for axis, middle in zip((x, y, z), self.center, strict=True))
        # The tiny start values give the center its distance, too, where both are zero.
        gauge, slope = np.float32(1e-6), np.float32(1e-6 / min(self.radii_mm) ** 2)
        for axis, radius in zip(self._axes, self.radii_mm, strict=True):
            pull = [np.float32(part / radius) for part in axis]
            along = x * pull[0] + y * pull[1] + z * pull[2]
            along *= along
            gauge = gauge + along
            slope = slope + along * np.float32(1 / radius**2)
        root: Array = np.sqrt(gauge)
        away: Array = (gauge - root) / np.sqrt(slope)
        return away


@dataclass(frozen=True)
class Capsule:
    """A straight piece of a tube with round ends, whose radius may change along it.

    Attributes
    ----------
    stretch_z : how much taller than wide the cross-section is (ribs are tall and thin).
    """

    start: Point
    stop: Point
    start_radius_mm: float
    stop_radius_mm: float
    stretch_z: float = 1.0

    @property
    def box(self) -> Box:
        """Where the solid may be."""
        radius = max(self.start_radius_mm, self.stop_radius_mm)
        reach = (radius, radius, radius * self.stretch_z)
        first, second = Box.around(self.start, reach), Box.around(self.stop, reach)
        low, high = np.minimum(first.low, second.low), np.maximum(first.high, second.high)
        return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the distance to the surface, see `Solid`."""
        squeeze = np.array((1, 1, 1 / self.stretch_z))
        along_x, along_y, along_z = ((np.array(self.stop) - self.start) * squeeze).astype(np.float32)
        x, y, z = x - np.float32(self.start[0]), y - np.float32(self.start[1]), z - np.float32(self.start[2])
        z = z * np.float32(squeeze[2])
        length_squared = float(along_x**2 + along_y**2 + along_z**2) + 1e-6
        projection = x * along_x + y * along_y + z * along_z
        share = np.clip(projection * np.float32(1 / length_squared), 0, 1)
        squared = x * x + y * y + z * z + share * (share * np.float32(length_squared) - 2 * projection)
        radius = share * np.float32(self.stop_radius_mm - self.start_radius_mm) + np.float32(self.start_radius_mm)
        nearest: Array = np.sqrt(np.maximum(squared, 0)) - radius
        return nearest


@dataclass(frozen=True)
class Section:
    """A cross-section of a torso at one height."""

    z: float
    half_width_mm: float
    half_depth_mm: float
    center_y: float = 0.0


@dataclass(frozen=True)
class Torso:
    """A rounded trunk given by cross-sections, interpolated between them and constant beyond.

    Attributes
    ----------
    dent_mm : how far the spine presses the back of the cross-section forward.
    """

    sections: tuple[Section, ...]
    dent_mm: float = 0.0
    dent_width_mm: float = 38.0
    inset_mm: float = 0.0

    def half_axes(self, z: Array) -> tuple[Array, Array, Array]:
        """Return half width, half depth and center y at the heights `z`, in millimeters."""
        heights = [section.z for section in self.sections]
        columns = [(section.half_width_mm, section.half_depth_mm, section.center_y) for section in self.sections]
        width, depth, center = (np.interp(z, heights, column).astype(np.float32) for column in np.transpose(columns))
        return width - np.float32(self.inset_mm), depth - np.float32(self.inset_mm), center

    @property
    def box(self) -> Box:
        """Where the solid may be."""
        width = max(section.half_width_mm for section in self.sections)
        front = min(section.center_y - section.half_depth_mm for section in self.sections)
        back = max(section.center_y + section.half_depth_mm for section in self.sections)
        return Box((-width, front, -np.inf), (width, back, np.inf))

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the distance to the surface, see `Solid`."""
        # A superellipse of exponent 2.5, between an ellipse and a box, as trunks are.
        width, depth, center = self.half_axes(z)
        across = np.abs(x / width)
        if self.dent_mm:
            backward = np.clip(y / np.float32(40), 0, 1)
            y = y + np.float32(self.dent_mm) * backward * np.exp(-((x / np.float32(self.dent_width_mm)) ** 2))
        deep = np.abs((y - center) / depth)
        across_root, deep_root = np.sqrt(across) * across, np.sqrt(deep) * deep
        gauge = across_root * across + deep_root * deep
        slope = (across_root / width) ** 2 + (deep_root / depth) ** 2
        apart: Array = (gauge - 1) / (np.float32(2.5) * np.sqrt(slope) + np.float32(1e-6))
        return apart


@dataclass(frozen=True)
class Formula:
    """A solid given by a distance function."""

    box: Box
    function: Callable[[Array, Array, Array], Array]

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the distance to the surface, see `Solid`."""
        return self.function(x, y, z)


@dataclass(frozen=True)
class Common:
    """What all `parts` have in common; its box is that of the first."""

    parts: tuple[Solid, ...]

    @property
    def box(self) -> Box:
        """Where the solid may be."""
        return self.parts[0].box

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the distance to the surface, see `Solid`."""
        farthest = self.parts[0].distance(x, y, z)
        for part in self.parts[1:]:
            farthest = np.maximum(farthest, part.distance(x, y, z))
        return farthest


@dataclass(frozen=True)
class Without:
    """`solid` with the `holes` (made larger by `margin_mm`) cut out."""

    solid: Solid
    holes: tuple[Solid, ...]
    margin_mm: float = 0.0

    @property
    def box(self) -> Box:
        """Where the solid may be."""
        return self.solid.box

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the distance to the surface, see `Solid`."""
        outside = self.solid.distance(x, y, z)
        for hole in self.holes:
            outside = np.maximum(outside, np.float32(self.margin_mm) - hole.distance(x, y, z))
        return outside


@dataclass(frozen=True)
class Wavy:
    """`solid` with a gently undulating surface, as organs have."""

    solid: Solid
    height_mm: float
    wavelength_mm: float
    phase: float = 0.0

    @property
    def box(self) -> Box:
        """Where the solid may be."""
        low = np.array(self.solid.box.low) - self.height_mm
        high = np.array(self.solid.box.high) + self.height_mm
        return Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the distance to the surface, see `Solid`."""
        pace = np.float32(2 * np.pi / self.wavelength_mm)
        shift = np.float32(self.phase)
        wave = np.sin(x * pace + shift) + np.sin(y * pace * np.float32(1.3) + z * pace * np.float32(0.7) + 2 * shift)
        moved = self.solid.distance(x, y, z) + wave * np.float32(self.height_mm / 2)
        return moved.astype(np.float32, copy=False)


def rotation_matrix(turn: Point) -> NDArray[np.float64]:
    """Return the rotation about x, then y, then z by the angles of `turn` in degrees, shape (3, 3)."""
    (sin_x, sin_y, sin_z), (cos_x, cos_y, cos_z) = np.sin(np.radians(turn)), np.cos(np.radians(turn))
    about_x = np.array(((1, 0, 0), (0, cos_x, -sin_x), (0, sin_x, cos_x)))
    about_y = np.array(((cos_y, 0, sin_y), (0, 1, 0), (-sin_y, 0, cos_y)))
    about_z = np.array(((cos_z, -sin_z, 0), (sin_z, cos_z, 0), (0, 0, 1)))
    rotation: NDArray[np.float64] = about_z @ about_y @ about_x
    return rotation
