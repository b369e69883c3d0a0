"""Whether a surface bounds a body, and mending where it touches itself."""

from __future__ import annotations

import manifold3d
import numpy as np
from numpy.typing import NDArray

from pacs.mesh.edges import bad_edges
from pacs.mesh.measuring import rounded
from pacs.mesh.report import EdgeCheck
from pacs.mesh.surface import Surface

_PLACES = 20
# Vertices that share a place are drawn apart by this part of the way to their neighbors, so that a reader that knows
# coordinates only keeps them apart, too.
_APART = 0.01
_HASH_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)


def checked(surface: Surface) -> tuple[Surface, EdgeCheck]:
    """Mend `surface` where it touches itself, and tell what is still wrong.

    Edges that four triangles share are taken apart, and so are vertices in the same place: two sheets come of it, a
    hundredth of an edge apart (Manifold's rules decide which triangles belong together). Nothing is added, no hole is
    closed.
    """
    bad = bad_edges(surface.triangles)
    if bad:
        surface = _paired(surface)
        bad = bad_edges(surface.triangles)
    joined = bad
    if _is_crowded(surface):
        surface = _drawn_apart(surface, _places(surface.points))
        joined = bad_edges(_welded(surface.triangles, _places(surface.points)))
    middles = surface.points[bad.vertices[:_PLACES]].mean(axis=1) if bad else np.empty((0, 3))
    return surface, EdgeCheck(
        boundary_edges=bad.boundary,
        non_manifold_edges=bad.non_manifold,
        welded_edges=len(joined),
        places_mm=tuple(rounded(place) for place in middles),
    )


def _welded(triangles: NDArray[np.int32], places: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the triangles by places instead of vertices; those that lose a corner so are left out."""
    joined = places[triangles]
    a, b, c = joined.T
    return np.asarray(joined[(a != b) & (b != c) & (c != a)])


def taken_apart(surface: Surface) -> Surface:
    """Return `surface` with edges that four triangles share made two edges each; itself if there are none."""
    return _paired(surface) if bad_edges(surface.triangles) else surface


def _paired(surface: Surface) -> Surface:
    body = manifold3d.Manifold(manifold3d.Mesh(surface.points, surface.triangles.astype(np.uint32)))
    if body.status() != manifold3d.Error.NoError:
        return surface
    mesh = body.to_mesh()
    points = np.ascontiguousarray(mesh.vert_properties[:, :3], dtype=np.float32)
    return Surface(points, np.asarray(mesh.tri_verts, dtype=np.int32))


def _is_crowded(surface: Surface) -> bool:
    """Whether several vertices share a place."""
    keys = _place_keys(surface.points)
    keys.sort()
    return bool((keys[1:] == keys[:-1]).any())


def _drawn_apart(surface: Surface, places: NDArray[np.int32]) -> Surface:
    shared = np.bincount(places)[places] > 1
    near = surface.triangles[shared[surface.triangles].any(axis=1)]
    sums, counts = np.zeros((len(places), 3)), np.zeros(len(places))
    for one, other in ((0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)):
        np.add.at(sums, near[:, one], surface.points[near[:, other]])
        np.add.at(counts, near[:, one], 1)
    points = surface.points.copy()
    means = sums[shared] / np.maximum(counts[shared], 1)[:, None]
    points[shared] += (_APART * (means - points[shared])).astype(np.float32)
    return Surface(points, surface.triangles)


def _places(points: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return a number for each vertex, the same for those in the same place."""
    return np.unique(_place_keys(points), return_inverse=True)[1].astype(np.int32)


def _place_keys(points: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return of each vertex a hash of its coordinates in float32."""
    bits = (points + np.float32(0)).view(np.uint32).astype(np.uint64)  # -0 becomes 0
    keys = np.zeros(len(points), np.uint64)
    for axis, factor in enumerate(_HASH_FACTORS):
        keys ^= bits[:, axis] * np.uint64(factor)
        keys = (keys << np.uint64(21)) | (keys >> np.uint64(43))
    return keys
