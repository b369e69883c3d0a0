"""Isosurfaces: a field becomes triangles, slab by slab, so that little memory is needed beside the voxels.

The mesher is VTK's flying edges (Schroeder, Maynard, Geveci 2015). It numbers vertices row by row, so the vertices of
the slice that two slabs share come in the same order in both, which is how they are joined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import vtkSMPTools
from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

from pacs.mesh.edges import bad_edges
from pacs.mesh.field import Field, Slab
from pacs.mesh.vtk_arrays import arrays_of, image_of

# Bytes of voxels in one slab, and slices at most: in more, float32 could not tell a vertex near a slice from one in it.
_SLAB_BYTES = 8 * 2**20
_MOST_SLICES = 60
_BITS_PER_AXIS = 21
# Twice the Euler characteristic of a disc.
_TWICE_A_DISC = 2
_FEWEST_AT_A_VERTEX = 3


@dataclass(frozen=True)
class Surface:
    """Triangles by index, counterclockwise when seen from outside.

    Attributes
    ----------
    points : shape (vertices, 3), float32.
    triangles : shape (triangles, 3), int32; neighbors in space are near each other.
    """

    points: NDArray[np.float32]
    triangles: NDArray[np.int32]

    def moved(self, affine: NDArray[np.float64]) -> Surface:
        """Return the surface mapped by `affine` (4, 4), with its outside still outside."""
        points = (self.points @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
        mirrored = np.linalg.det(affine[:3, :3]) < 0
        return Surface(points, np.ascontiguousarray(self.triangles[:, ::-1]) if mirrored else self.triangles)


EMPTY = Surface(np.empty((0, 3), np.float32), np.empty((0, 3), np.int32))


def extract(
    field: Field,
    progress: Callable[[float], None] = lambda _fraction: None,
    check: Callable[[], None] = lambda: None,
) -> Surface:
    """Return the surface of `field` at its level, in units of the lattice: (column, row, slice).

    Parameters
    ----------
    check : called now and then; raises if it is not wanted any more.
    """
    # The wheel of VTK has no TBB; asking for it would silently give one thread.
    vtkSMPTools.SetBackend("STDThread")
    slices = field.shape[0]
    seam = _Seam()
    points, triangles = EMPTY.points.copy(), EMPTY.triangles.copy()
    first = 0
    while first < slices - 1:
        check()
        last = min(slices, first + _slab_height(field))
        slab = _extract_slab(field.slab(first, last), field.level)
        new_points, new_triangles = seam.joined(slab, first, last - first - 1)
        _append(points, new_points)
        _append(triangles, new_triangles)
        first = last - 1
        progress(first / slices)
    return Surface(points, triangles)


def _append(array: NDArray[Any], rows: NDArray[Any]) -> None:
    """Make `array` longer in place: the system moves its pages, there is never a second copy."""
    count = len(array)
    array.resize((count + len(rows), 3), refcheck=False)
    array[count:] = rows


def _slab_height(field: Field) -> int:
    plane = field.shape[1] * field.shape[2] * 2
    return int(np.clip(_SLAB_BYTES // plane, 4, _MOST_SLICES))


def _extract_slab(values: Slab, level: float) -> Surface:
    mesher = vtkFlyingEdges3D()
    mesher.SetInputData(image_of(values))
    mesher.SetValue(0, level)
    mesher.ComputeNormalsOff()
    mesher.ComputeGradientsOff()
    mesher.ComputeScalarsOff()
    mesher.Update()
    return Surface(*arrays_of(mesher.GetOutput()))


class _Seam:
    """Joins slabs that share a slice."""

    def __init__(self) -> None:
        self._count = 0
        self._above = np.empty(0, np.int64)
        self._above_points = np.empty((0, 2), np.float32)

    def joined(self, slab: Surface, first: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Return the vertices that are new, and the triangles by the numbers of all so far."""
        z = slab.points[:, 2]
        # Vertices in a slice are on its own edges; those on edges between slices are never as near as to be equal.
        below = np.flatnonzero(z == 0)
        if not np.array_equal(slab.points[below, :2], self._above_points):
            raise RuntimeError("The surfaces of two slabs do not meet in the slice that they share.")
        is_new = np.ones(len(z), dtype=np.bool_)
        is_new[below] = False
        numbers = np.cumsum(is_new) - 1 + self._count
        numbers[below] = self._above
        above = np.flatnonzero(z == height)
        self._above, self._above_points = numbers[above], slab.points[above, :2]
        points = slab.points[is_new]
        points[:, 2] += first
        self._count += len(points)
        return points, numbers.astype(np.int32)[slab.triangles]


def clustered(surface: Surface, step: float | NDArray[np.float64] = 1.0) -> Surface:
    """Return `surface`, in units of the lattice, with the vertices nearest to the same point of a lattice made one.

    About half of the triangles of an isosurface are slivers between such vertices (Treece et al. 1999, regularised
    marching tetrahedra); without them everything that follows is twice as fast. A group of vertices becomes one only
    where they and the triangles between them are a disc, so nothing is torn, closed or pinched.

    Parameters
    ----------
    step : of the lattice that groups them, in voxels; one number, or those along columns, rows and slices.
    """
    groups, count = _groups(surface, step)
    corners = groups[surface.triangles]
    sizes = np.bincount(groups, minlength=count)
    torn = _not_disc(corners, sizes)
    kept = corners[_is_proper(corners)]
    torn[bad_edges(kept).vertices.reshape(-1)] = True
    # Whole bodies that became a line or a triangle would not be missed otherwise.
    torn |= np.bincount(kept.reshape(-1), minlength=count) < _FEWEST_AT_A_VERTEX
    torn &= sizes > 1
    while torn.any():
        groups = _split(groups, torn)
        torn = _torn_beside(surface.triangles, corners, groups, torn)
    # Those that were split are gone: the others are numbered anew.
    numbers = np.cumsum(np.bincount(groups) > 0, dtype=np.int32) - 1
    groups, corners = numbers[groups], numbers[corners]
    return Surface(_middles(surface, groups, np.bincount(groups)), corners[_is_proper(corners)])


def _torn_beside(
    triangles: NDArray[np.int32], corners: NDArray[np.int32], groups: NDArray[np.int32], split: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Renew the `corners` of the triangles at groups that were `split`; return which groups are torn there now.

    Nothing changes elsewhere, and a vertex alone is a disc: only edges at the new groups are to be looked at.
    """
    a, b, c = corners.T
    near = np.flatnonzero(split[a] | split[b] | split[c])
    some = groups[triangles[near]]
    corners[near] = some
    ends = bad_edges(some[_is_proper(some)]).vertices
    sizes = np.bincount(groups)
    torn = np.zeros(len(sizes), np.bool_)
    torn[ends[(ends >= len(split)).any(axis=1)].reshape(-1)] = True
    return torn & (sizes > 1)


def coarsened(surface: Surface, step: float) -> Surface:
    """Return `surface`, in units of the lattice, on a lattice of `step` voxels only: for the eye, not for print.

    What is thinner than that becomes one sheet, and edges may have more than two triangles.
    """
    groups, count = _groups(surface, step)
    corners = groups[surface.triangles]
    return Surface(_middles(surface, groups, np.bincount(groups, minlength=count)), corners[_is_proper(corners)])


def _middles(surface: Surface, groups: NDArray[np.int32], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    sums = [np.bincount(groups, weights=surface.points[:, axis], minlength=len(sizes)) for axis in range(3)]
    return (np.stack(sums, axis=1) / sizes[:, None]).astype(np.float32)


def _groups(surface: Surface, step: float | NDArray[np.float64]) -> tuple[NDArray[np.int32], int]:
    nearest = np.rint(surface.points / np.asarray(step, np.float32)).astype(np.int64)
    keys = nearest[:, 2]
    for axis in (1, 0):
        keys = (keys << _BITS_PER_AXIS) | nearest[:, axis]
    found, groups = np.unique(keys, return_inverse=True)
    return groups.astype(np.int32), len(found)


def _is_proper(corners: NDArray[np.int32]) -> NDArray[np.bool_]:
    a, b, c = corners.T
    return np.asarray((a != b) & (b != c) & (c != a))


def _not_disc(corners: NDArray[np.int32], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which groups have not the Euler characteristic of a disc: vertices - edges + triangles = 1.

    Parameters
    ----------
    sizes : of the groups, in vertices.
    """
    count, twice = len(sizes), 2 * sizes
    a, b, c = corners.T
    ab, bc, ca = a == b, b == c, c == a
    for same, at in ((ab, a), (bc, b), (ca, c)):
        twice -= np.bincount(at[same], minlength=count)  # each edge is seen from both of its triangles
    twice += 2 * np.bincount(a[ab & bc], minlength=count)
    return np.asarray(twice != _TWICE_A_DISC)


def _split(groups: NDArray[np.int32], torn: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Give each vertex of the groups that are `torn` a group of its own, behind those there are."""
    single = torn[groups]
    split = groups.copy()
    split[single] = len(torn) + np.arange(int(single.sum()), dtype=np.int32)
    return split
