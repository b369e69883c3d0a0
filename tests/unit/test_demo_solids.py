"""Solids, tubes and scenes: their surfaces lie where geometry says."""

from __future__ import annotations

import numpy as np
import pytest

from pacs.demo.canvas import Box, Grid, Layer, Point, Scene, Solid, Stroke
from pacs.demo.solids import Capsule, Common, Ellipsoid, Formula, Wavy, Without, rotation_matrix
from pacs.demo.tubes import mirrored, tube, tube_strokes, vessel_tree

_SPHERE = Ellipsoid((0, 0, 0), (10, 10, 10))


def _distance(solid: Solid, place: Point) -> float:
    x, y, z = (np.full((1, 1, 1), value, np.float32) for value in place)
    return float(solid.distance(x, y, z).item())


@pytest.mark.parametrize(("place", "expected"), [((0, 0, 0), -10), ((4, 0, 0), -6), ((0, 10, 0), 0), ((0, 0, 13), 3)])
def test_sphere_tells_the_true_distance(place: Point, expected: float) -> None:
    """The distance to a sphere is exact, at its center, too."""
    assert _distance(_SPHERE, place) == pytest.approx(expected, abs=1e-2)


def test_ellipsoid_turns_and_its_box_turns_with_it() -> None:
    """A quarter turn about z swaps the x and y radii, of the solid and of its box."""
    turned = Ellipsoid((0, 0, 0), (20, 5, 5), (0, 0, 90))
    assert _distance(turned, (0, 20, 0)) == pytest.approx(0, abs=1e-3)
    assert _distance(turned, (5, 0, 0)) == pytest.approx(0, abs=1e-3)
    assert turned.box.high == pytest.approx((5, 20, 5))


def test_rotation_keeps_lengths_and_handedness() -> None:
    """Every rotation matrix is orthonormal with determinant 1."""
    rotation = rotation_matrix((12, -34, 56))
    assert rotation @ rotation.T == pytest.approx(np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_capsule_changes_its_radius_along_its_length() -> None:
    """The surface of a capsule from radius 2 to 4 lies at 3 in the middle."""
    capsule = Capsule((0, 0, 0), (10, 0, 0), 2, 4)
    assert _distance(capsule, (5, 3, 0)) == pytest.approx(0, abs=1e-4)
    assert _distance(capsule, (14, 0, 0)) == pytest.approx(0, abs=1e-4)


def test_stretched_capsule_is_taller_than_wide() -> None:
    """With a stretch of 2 the surface lies twice as far in z."""
    capsule = Capsule((0, 0, 0), (10, 0, 0), 3, 3, stretch_z=2)
    assert _distance(capsule, (5, 0, 6)) == pytest.approx(0, abs=1e-4)
    assert _distance(capsule, (5, 3, 0)) == pytest.approx(0, abs=1e-4)


def test_common_and_without_cut_solids() -> None:
    """What two solids have in common is inside of both; a hole is outside."""
    half = Formula(Box((-10, -10, -10), (10, 10, 10)), lambda x, y, z: x + 0 * y + 0 * z)
    assert _distance(Common((_SPHERE, half)), (-5, 0, 0)) < 0 < _distance(Common((_SPHERE, half)), (5, 0, 0))
    assert _distance(Without(_SPHERE, (half,)), (-5, 0, 0)) > 0 > _distance(Without(_SPHERE, (half,)), (5, 0, 0))
    assert _distance(Without(_SPHERE, (half,), margin_mm=6), (5, 0, 0)) == pytest.approx(1)


def test_wavy_surface_stays_within_its_height() -> None:
    """Waves of 2 mm move no surface by more than 2 mm, and the box has room for them."""
    wavy = Wavy(_SPHERE, 2, 15)
    moved = [_distance(wavy, (x, 0, 0)) - _distance(_SPHERE, (x, 0, 0)) for x in range(-12, 13)]
    assert 0.5 < max(map(abs, moved)) <= 2
    assert wavy.box.high == pytest.approx((12, 12, 12))


def test_tube_passes_through_its_points() -> None:
    """Every point of the path lies on the middle of the tube, its ends included."""
    path: list[Point] = [(0, 0, 0), (10, 5, 0), (20, 0, 8)]
    capsules = tube(path, 2, pieces=5)
    assert len(capsules) == 10
    for place in path:
        assert min(_distance(capsule, place) for capsule in capsules) == pytest.approx(-2, abs=1e-3)


def test_mirrored_tube_lies_on_the_other_side() -> None:
    """Mirroring changes the sign of x and nothing else."""
    (one,) = tube([(1, 2, 3), (4, 5, 6)], 1, pieces=1)
    (other,) = mirrored([one])
    assert (other.start, other.stop) == (pytest.approx((-1, 2, 3)), pytest.approx((-4, 5, 6)))


def test_vessel_tree_reaches_every_twig_and_thins_out() -> None:
    """Each twig is the end of one vessel, and no vessel is thicker than the one at the root."""
    twigs = np.random.default_rng(1).uniform((30, -30, -30), (90, 30, 30), (40, 3))
    tree = vessel_tree((0, 0, 0), twigs, 0.5)
    assert {tuple(np.round(one.stop, 6)) for one in tree} == {tuple(np.round(twig, 6)) for twig in twigs}
    thickest = max(tree, key=lambda one: one.stop_radius_mm)
    assert thickest.start == (0, 0, 0)
    assert min(one.stop_radius_mm for one in tree) == pytest.approx(0.5)


def test_scene_paints_volumes_of_the_right_size() -> None:
    """The painted mass of a sphere is its volume: the soft edges take as much as they give."""
    grid = Grid((-14.5, -14.5, -14.5), (1, 1, 1), (30, 30, 30))
    painted = Scene([Stroke.of(_SPHERE, Layer(1.0))]).render(grid, background=0, softness_mm=1.2)
    assert painted.sum() == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.01)


def test_scene_paints_layers_under_the_surface_and_later_strokes_over_earlier_ones() -> None:
    """A layer starts at its depth, and what comes later covers."""
    strokes = [Stroke.of(_SPHERE, Layer(1.0), Layer(2.0, 4.0)), Stroke.of(Ellipsoid((0, 0, 0), (2, 2, 2)), Layer(3.0))]
    line = Scene(strokes).render(Grid((0, 0, 0), (1, 1, 1), (14, 1, 1)), background=0, softness_mm=0.1)[0, 0]
    assert [line[0], line[4], line[8], line[12]] == pytest.approx([3, 2, 1, 0])


def test_scene_gives_the_same_in_blocks_of_any_height() -> None:
    """How the work is cut into blocks changes nothing."""
    strokes = [*tube_strokes(tube([(-10, 0, -10), (8, 3, 12)], 3), Layer(5.0), Layer(7.0, 1.0))]
    grid = Grid((-14, -14, -14), (1, 1, 1), (28, 28, 28))
    pictures = [
        Scene(strokes).render(grid, background=0, softness_mm=1, block_mm=height, threads=threads)
        for height, threads in ((1, 1), (7, 2), (100, 2))
    ]
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])
