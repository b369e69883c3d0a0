"""Measures of a surface: volume, area, box, thickness of walls, distance from another surface."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import reference
from vtkmodules.vtkCommonDataModel import vtkStaticCellLocator

from pacs.mesh.report import BoundingBox, Deviation, Point, Thickness
from pacs.mesh.surface import Surface
from pacs.mesh.vtk_arrays import poly_data_of

_THREADS = 2
_TRIANGLES_AT_ONCE = 50_000
_POINTS_AT_ONCE = 50_000
_THICKNESS_SAMPLES = 1500
# A ray begins so much of the whole size under the surface, not to hit the triangle that it starts from.
_SKIN = 1e-5


def volume_and_area(surface: Surface) -> tuple[float, float]:
    """Return the volume in mm3 that the surface encloses, negative if it is inside out, and its area in mm2."""
    if not len(surface.triangles):
        return 0.0, 0.0
    # Around its middle, so that a body far from the origin is not the difference of large numbers.
    points = (surface.points - surface.points.mean(axis=0, dtype=np.float64)).T.astype(np.float64, order="C")
    blocks = np.array_split(surface.triangles, -(-len(surface.triangles) // _TRIANGLES_AT_ONCE))
    if len(blocks) == 1:
        sums = [_six_volumes_and_two_areas(points, blocks[0])]
    else:
        with ThreadPoolExecutor(_THREADS) as pool:
            sums = list(pool.map(lambda block: _six_volumes_and_two_areas(points, block), blocks))
    return sum(volume for volume, _ in sums) / 6, sum(area for _, area in sums) / 2


def _six_volumes_and_two_areas(points: NDArray[np.float64], triangles: NDArray[np.int32]) -> tuple[float, float]:
    (ax, bx, cx), (ay, by, cy), (az, bz, cz) = (axis[triangles.T] for axis in points)
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    return float((ax * nx + ay * ny + az * nz).sum()), float(np.sqrt(nx * nx + ny * ny + nz * nz).sum())


def bounding_box(surface: Surface) -> BoundingBox:
    """Return the box along the axes that holds the surface."""
    if not len(surface.points):
        return BoundingBox(low_mm=(0.0, 0.0, 0.0), high_mm=(0.0, 0.0, 0.0))
    return BoundingBox(low_mm=rounded(surface.points.min(axis=0)), high_mm=rounded(surface.points.max(axis=0)))


@dataclass(frozen=True)
class Beyond:
    """Points that are too far from a surface.

    Attributes
    ----------
    points : their numbers.
    nearest : of each, the number of the triangle nearest to it.
    """

    points: NDArray[np.int64]
    nearest: NDArray[np.int64]


class SurfaceLocator:
    """Finds what of a surface, one triangle at least, is nearest to a point or in the way of a ray."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._locator: Any = vtkStaticCellLocator()  # its declarations know no references
        self._locator.SetDataSet(poly_data_of(surface.points, surface.triangles))
        self._locator.BuildLocator()

    def deviation(self, points_mm: NDArray[np.float32]) -> Deviation:
        """Return how far `points_mm` (n, 3; one at least), of another surface, are from this one."""
        nearest, cell, part, square = [0.0, 0.0, 0.0], reference(0), reference(0), _real()
        squares = np.empty(len(points_mm))
        for number, point in enumerate(points_mm.tolist()):
            self._locator.FindClosestPoint(point, nearest, cell, part, square)
            squares[number] = square.get()
        distances = np.sqrt(squares)
        return Deviation(
            mean_mm=round(float(distances.mean()), 5),
            p99_mm=round(float(np.quantile(distances, 0.99)), 5),
            max_mm=round(float(distances.max()), 5),
            samples=len(points_mm),
        )

    def beyond(self, points_mm: NDArray[np.float32], most_mm: float) -> Beyond:
        """Return which of `points_mm` (n, 3) are farther than `most_mm` from this surface."""
        found: list[tuple[int, int]] = []
        nearest, part, square = [0.0, 0.0, 0.0], reference(0), _real()
        cell: Any = reference(0)
        most = most_mm * most_mm
        for first in range(0, len(points_mm), _POINTS_AT_ONCE):
            for number, point in enumerate(points_mm[first : first + _POINTS_AT_ONCE].tolist(), first):
                self._locator.FindClosestPoint(point, nearest, cell, part, square)
                if square.get() > most:
                    found.append((number, cell.get()))
        numbers = np.array(found, np.int64).reshape(-1, 2)
        return Beyond(numbers[:, 0], numbers[:, 1])

    def thickness(self, samples: int = _THICKNESS_SAMPLES) -> Thickness | None:
        """Measure walls from the middle of triangles, evenly chosen, along a ray inward; None if no ray hits."""
        triangles = self._surface.triangles
        chosen = triangles[:: max(1, len(triangles) // samples)]
        a, b, c = (self._surface.points[chosen[:, corner]].astype(np.float64) for corner in range(3))
        normals = np.cross(b - a, c - a)
        lengths = np.linalg.norm(normals, axis=1)
        good = lengths > 0
        found = self._first_hits(((a + b + c) / 3)[good], -normals[good] / lengths[good, None])
        if not len(found):
            return None
        return Thickness(
            thinnest_mm=round(float(found.min()), 4),
            p01_mm=round(float(np.quantile(found, 0.01)), 4),
            median_mm=round(float(np.median(found)), 4),
            samples=len(found),
        )

    def _first_hits(self, starts: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far each ray goes before it hits; rays that hit nothing are left out."""
        length = float(np.linalg.norm(bounding_box(self._surface).size_mm))
        begins, ends = starts + _SKIN * length * directions, starts + length * directions
        at, hit, parameters, part, cell = _real(), [0.0] * 3, [0.0] * 3, reference(0), reference(0)
        shares = [
            at.get()
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
            if self._locator.IntersectWithLine(begin, end, 0.0, at, hit, parameters, part, cell)
        ]
        return length * (_SKIN + (1 - _SKIN) * np.array(shares))


def _real() -> Any:
    """Return what VTK writes a number into."""
    return reference(0.0)


def rounded(values: NDArray[np.floating]) -> Point:
    """Return a point to a tenth of a micrometer."""
    x, y, z = (round(float(value), 4) for value in values)
    return x, y, z
