"""Manifoldness, mending, and measures of bodies that are known."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.mesh_sources import small_phantom, wrong_edges
from pacs.mesh import edges as edges_module
from pacs.mesh.check import checked
from pacs.mesh.edges import bad_edges
from pacs.mesh.field import threshold_field
from pacs.mesh.measuring import SurfaceLocator, bounding_box, volume_and_area
from pacs.mesh.surface import Surface, extract

_FACES = [(0, 2, 1), (0, 3, 2), (4, 5, 6), (4, 6, 7), (0, 1, 5), (0, 5, 4)]
_FACES += [(1, 2, 6), (1, 6, 5), (2, 3, 7), (2, 7, 6), (3, 0, 4), (3, 4, 7)]
CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)], float)


def box(size: tuple[float, float, float] = (1, 1, 1), at: tuple[float, float, float] = (0, 0, 0)) -> Surface:
    """Return a box of twelve triangles."""
    return Surface((CORNERS * size + at).astype(np.float32), np.array(_FACES, np.int32))


def together(*surfaces: Surface, weld: bool = False) -> Surface:
    """Return surfaces as one, with vertices of the same place made one if asked for."""
    offsets = np.cumsum([0, *(len(one.points) for one in surfaces)])
    points = np.concatenate([one.points for one in surfaces])
    triangles = np.concatenate([one.triangles + offset for one, offset in zip(surfaces, offsets, strict=False)])
    if weld:
        points, numbers = np.unique(points, axis=0, return_inverse=True)
        triangles = numbers.reshape(-1)[triangles]
    return Surface(points, triangles.astype(np.int32))


def test_box_is_whole() -> None:
    """A box has no bad edge, its volume, its area and its size."""
    surface, found = checked(box((2, 3, 4), (100, -50, 7)))
    assert found.is_watertight
    assert found.welded_edges == 0
    assert volume_and_area(surface) == pytest.approx((24, 52))
    assert bounding_box(surface).low_mm == (100, -50, 7)
    assert bounding_box(surface).size_mm == (2, 3, 4)


def test_hole_is_found_in_its_place() -> None:
    """Without one triangle there are three open edges, and the report says where."""
    whole = box()
    _, found = checked(Surface(whole.points, whole.triangles[1:]))
    assert (found.boundary_edges, found.non_manifold_edges, found.is_watertight) == (3, 0, False)
    assert set(found.places_mm) == {(0.5, 0.5, 0.0), (1.0, 0.5, 0.0), (0.5, 0.0, 0.0)}


def test_turned_triangle_is_not_manifold() -> None:
    """A triangle that faces inward makes its three edges bad, though each has two triangles."""
    whole = box()
    triangles = whole.triangles.copy()
    triangles[0] = triangles[0][::-1]
    assert bad_edges(triangles).non_manifold == 3


@pytest.mark.parametrize("shares", ["edge", "corner", "nothing but places"])
def test_touching_boxes_come_apart(shares: str) -> None:
    """Two boxes that share an edge or a corner become two bodies that no reader joins again, of the same volume."""
    at = {"edge": (1, 1, 0), "corner": (1, 1, 1), "nothing but places": (1, 1, 0)}[shares]
    joined = together(box(), box(at=at), weld=shares != "nothing but places")
    apart, found = checked(joined)
    assert found.is_watertight
    assert wrong_edges(apart) == 0
    assert volume_and_area(apart)[0] == pytest.approx(2, rel=0.02)
    welded = together(Surface(apart.points, apart.triangles), weld=True)
    assert found.welded_edges == wrong_edges(welded)
    if shares != "corner":
        assert found.welded_edges == 0


def test_chunks_find_the_same_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """In small chunks the same bad edges are found as all at once: open, threefold, fourfold, turned."""
    _, volume = small_phantom()
    triangles = extract(threshold_field(volume, volume.voxels, 300, None)).triangles
    random = np.random.default_rng(1)
    triangles = np.delete(triangles, random.integers(0, len(triangles), 50), axis=0)
    triangles = np.concatenate((triangles, triangles[random.integers(0, len(triangles), 50)]))
    triangles[random.integers(0, len(triangles), 20)] = triangles[random.integers(0, len(triangles), 20)][:, ::-1]
    at_once = bad_edges(triangles)
    assert at_once.boundary > 0
    assert at_once.non_manifold > 0
    monkeypatch.setattr(edges_module, "_CHUNK_TRIANGLES", 1000)
    in_chunks = bad_edges(triangles)
    assert (in_chunks.boundary, in_chunks.non_manifold) == (at_once.boundary, at_once.non_manifold)
    np.testing.assert_array_equal(in_chunks.vertices, at_once.vertices)


def test_thickness_is_that_of_the_plate() -> None:
    """A plate of 0.4 mm is that thin at its faces."""
    found = SurfaceLocator(box((30, 20, 0.4))).thickness()
    assert found is not None
    assert found.thinnest_mm == pytest.approx(0.4, abs=1e-3)


def test_deviation_is_the_distance_of_surfaces() -> None:
    """A box moved by a tenth along one axis deviates by a tenth at most."""
    found = SurfaceLocator(box()).deviation(box(at=(0.1, 0, 0)).points)
    assert found.max_mm == pytest.approx(0.1)
    assert found.samples == 8


def test_volume_is_right_far_away() -> None:
    """At 2 m from the origin float32 costs less than a thousandth of the volume of a cubic centimeter."""
    assert volume_and_area(box((10, 10, 10), (-2000, 1500, 900)))[0] == pytest.approx(1000, rel=1e-3)
