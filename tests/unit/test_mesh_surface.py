"""Isosurfaces against bodies whose volume and surface are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from fixtures.mesh_phantom import MID_LEVEL_HU
from fixtures.mesh_sources import (
    ball_voxels,
    euler_characteristic,
    recipe_of,
    small_phantom,
    surface_points,
    volume_of,
    wrong_edges,
)
from pacs.mesh import surface as surface_module
from pacs.mesh.errors import EmptyPart
from pacs.mesh.field import ClosedField, Field, MaskField, Shape, ThresholdField, sealed, threshold_field
from pacs.mesh.measuring import bounding_box, volume_and_area
from pacs.mesh.recipe import Recipe
from pacs.mesh.selection import select
from pacs.mesh.surface import Surface, clustered, extract
from pacs.mesh.volume import Volume

TILT = np.array([[0.7, 0, 0, -50], [0, 0.7, 0.3, 20], [0, 0, 1.1, -800], [0, 0, 0, 1]])
MIRROR = np.diag([-0.7, 0.7, 0.8, 1.0])


def _field(volume: Volume, low: float | None, high: float | None = None) -> Field:
    return threshold_field(volume, volume.voxels, low, high)


def _ball(radius: float = 12.0, size: int = 34) -> Volume:
    return volume_of(ball_voxels((size, size, size), (16.3, 16.6, 15.8), radius))


@pytest.mark.parametrize("level_hu", [300.0, MID_LEVEL_HU])
def test_isosurface_has_the_phantoms_volume_and_place(level_hu: float) -> None:
    """The error of the volume is that of linear interpolation alone, and nothing is shifted."""
    phantom, volume = small_phantom()
    truth = phantom.at_level(level_hu)
    found = extract(_field(volume, level_hu)).moved(volume.geometry.affine)
    volume_mm3, _ = volume_and_area(found)
    distances = truth.distance_mm(surface_points(found))
    assert wrong_edges(found) == 0
    assert volume_mm3 == pytest.approx(truth.volume_mm3, rel=0.025 if level_hu == 300 else 0.004)
    assert distances.mean() < 0.05


def test_ball_has_its_volume_and_area() -> None:
    """Of a ball that linear interpolation meets exactly, volume and area are right to 3 in 1000."""
    volume_mm3, area_mm2 = volume_and_area(extract(_field(_ball(), 1000)))
    assert volume_mm3 == pytest.approx(4 / 3 * math.pi * 12**3, rel=5e-3)
    assert area_mm2 == pytest.approx(4 * math.pi * 12**2, rel=5e-3)


@pytest.mark.parametrize("affine", [np.eye(4), TILT, MIRROR, -np.eye(4) + 2 * np.diag([0, 0, 0, 1])])
def test_triangles_face_outward_whatever_the_lattice(affine: np.ndarray) -> None:
    """The volume is positive in a sheared and in a mirrored lattice too, and scaled by its determinant."""
    volume = _ball()
    plain, _ = volume_and_area(extract(_field(volume, 1000)))
    moved, _ = volume_and_area(extract(_field(volume, 1000)).moved(affine))
    assert moved == pytest.approx(plain * abs(np.linalg.det(affine[:3, :3])), rel=1e-4)


def test_slabs_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A surface in slabs of four slices is vertex by vertex that of one slab."""
    _, volume = small_phantom()
    field = _field(volume, 300)
    whole = extract(field)
    monkeypatch.setattr(surface_module, "_SLAB_BYTES", 1)
    in_slabs = extract(field)
    assert wrong_edges(in_slabs) == 0
    assert len(in_slabs.triangles) == len(whole.triangles)
    one, other = (np.unique(found.points.round(3), axis=0) for found in (whole, in_slabs))
    np.testing.assert_allclose(one, other, atol=2e-3)


@pytest.mark.parametrize("kind", ["int16", "uint16", "float32", "int16 extremes", "float32 steps"])
def test_noise_gives_closed_surfaces(kind: str) -> None:
    """Whatever the values, also where they are exactly the threshold, no edge is open or shared by more than two."""
    random = np.random.default_rng(3)
    voxels = {
        "int16": lambda: random.integers(-100, 100, (20, 21, 22)).astype(np.int16),
        "uint16": lambda: random.integers(0, 5, (20, 21, 22)).astype(np.uint16),
        "float32": lambda: random.normal(size=(20, 21, 22)).astype(np.float32),
        "int16 extremes": lambda: random.choice([-32768, 0, 1, 32767], (70, 21, 22)).astype(np.int16),
        "float32 steps": lambda: random.choice([-1.0, 0.0, 0.0, 1e-30, 1e6], (70, 21, 22)).astype(np.float32),
    }[kind]()
    outside = float(voxels.min())
    voxels[0] = voxels[-1] = voxels[:, 0] = voxels[:, -1] = voxels[:, :, 0] = voxels[:, :, -1] = outside
    found = extract(_field(volume_of(voxels, outside=outside), 0.0))
    assert len(found.triangles) > 1000
    assert wrong_edges(found) == 0
    assert volume_and_area(found)[0] > 0


@pytest.mark.parametrize("seed", range(5))
def test_clustering_keeps_the_topology(seed: int) -> None:
    """Without slivers a surface has the same bodies, holes and handles, even that of noise."""
    random = np.random.default_rng(seed)
    voxels = np.zeros((24, 25, 26), np.int16)
    voxels[1:-1, 1:-1, 1:-1] = random.integers(-100, 100, (22, 23, 24))
    if seed % 2:
        voxels[1:-1, 1:-1, 1:-1] = (voxels[:-2, 1:-1, 1:-1] + voxels[1:-1, :-2, 1:-1] + voxels[1:-1, 1:-1, :-2]) // 3
    full = extract(_field(volume_of(voxels, outside=-100), 10))
    fewer = clustered(full)
    assert len(fewer.triangles) < 0.8 * len(full.triangles)
    assert wrong_edges(fewer) == 0
    assert euler_characteristic(fewer) == euler_characteristic(full)


def test_clustering_takes_two_of_five_triangles_and_keeps_the_shape() -> None:
    """On a smooth body 40 % of the triangles are slivers; the volume without them is the same."""
    full = extract(_field(_ball(), 1000))
    fewer = clustered(full)
    assert len(fewer.triangles) < 0.65 * len(full.triangles)
    assert volume_and_area(fewer)[0] == pytest.approx(volume_and_area(full)[0], rel=2e-3)


def test_window_gives_the_shell_between_two_values() -> None:
    """Between the values of radius 10 and 12 lies a shell with both its walls."""
    voxels = ball_voxels((34, 34, 34), (16.3, 16.6, 15.8), 11.0)  # 500 a voxel: 1500 at radius 10, 500 at radius 12
    found = extract(_field(volume_of(voxels), 500, 1500))
    assert wrong_edges(found) == 0
    assert volume_and_area(found)[0] == pytest.approx(4 / 3 * math.pi * (12**3 - 10**3), rel=0.02)


def test_what_fills_the_image_is_closed_at_its_edge() -> None:
    """A threshold below everything gives the box of the image."""
    voxels = np.full((8, 9, 10), 50, np.int16)
    found = extract(_field(volume_of(voxels, outside=50), 0))
    assert wrong_edges(found) == 0
    assert bounding_box(found).size_mm == pytest.approx((8, 7, 6), abs=1.01)


@pytest.mark.parametrize("affine", [np.eye(4), TILT])
def test_box_cuts_flat_and_closed(affine: np.ndarray) -> None:
    """Half a ball is half a ball, cut along the patient's axes in a tilted lattice too."""
    volume = volume_of(_ball().voxels, affine)
    middle = affine @ [15.8, 16.6, 16.3, 1.0]
    box = {"x_mm": [-1e3, 1e3], "y_mm": [-1e3, float(middle[1])], "z_mm": [-1e3, 1e3]}
    recipe = recipe_of(1000, box_mm=box)
    selected = select(recipe.parts[0], recipe, volume)
    half = extract(selected.field).moved(selected.affine)
    assert wrong_edges(half) == 0
    whole = 4 / 3 * math.pi * 12**3 * abs(np.linalg.det(affine[:3, :3]))
    assert volume_and_area(half)[0] == pytest.approx(whole / 2, rel=0.02)
    assert bounding_box(half).high_mm[1] == pytest.approx(middle[1], abs=0.05)


def test_box_outside_of_the_images_is_refused() -> None:
    """The refusal says that the box is elsewhere."""
    recipe = recipe_of(1000, box_mm={"x_mm": [500, 600], "y_mm": [0, 10], "z_mm": [0, 10]})
    with pytest.raises(EmptyPart, match="outside of the images"):
        select(recipe.parts[0], recipe, _ball())


def test_holes_are_closed_below_their_width() -> None:
    """A gap of two voxels in a plate is filled when gaps below 4 mm are, and stays when those below 1 mm are."""
    voxels = np.zeros((20, 20, 20), np.int16)
    voxels[8:12, 3:17, 3:17] = 1000
    voxels[8:12, 3:17, 9:11] = 0
    volumes = {}
    for close_mm in (0, 1, 4):
        recipe = recipe_of(500, close_holes_mm=close_mm)
        found = extract(select(recipe.parts[0], recipe, volume_of(voxels)).field)
        assert wrong_edges(found) == 0
        volumes[close_mm] = volume_and_area(found)[0]
    assert volumes[1] == pytest.approx(volumes[0])
    assert volumes[4] > volumes[0] * 1.1


@pytest.mark.parametrize("close_mm", [3, 10, 20])
def test_closing_adds_nothing_to_a_body_without_holes(close_mm: int) -> None:
    """A ball near the borders of its mask stays as it is, however wide the gaps are that would be filled."""
    mask = (ball_voxels((50, 50, 50), (24.5, 24.5, 24.5), 20) > 1000).astype(np.uint8)
    select_it = {"parts": [{"name": "x", "select": {"kind": "segment", "number": 1}}], "close_holes_mm": close_mm}
    recipe = Recipe.model_validate(select_it)
    found = extract(select(recipe.parts[0], recipe, volume_of(mask, unit="")).field)
    assert wrong_edges(found) == 0
    assert volume_and_area(found)[0] == pytest.approx(mask.sum(), rel=0.01)


def test_closing_does_not_lengthen_what_ends_near_the_last_slice() -> None:
    """A rod that ends four slices below the top ends there."""
    rod = np.full((40, 30, 30), -1000, np.int16)
    rod[6:35, 8:22, 8:22] = 1000
    recipe = recipe_of(0, close_holes_mm=10)
    found = extract(select(recipe.parts[0], recipe, volume_of(rod, outside=-1024)).field)
    box = bounding_box(found)
    assert (box.low_mm[2], box.high_mm[2]) == pytest.approx((5.5, 34.5), abs=0.1)


@pytest.mark.parametrize("reach", [(2, 2, 2), (5, 1, 0), (0, 3, 4), (9, 9, 9)])
def test_closing_is_the_same_in_slabs(reach: Shape) -> None:
    """Slab by slab the values are those of the whole closed at once, with nothing around it."""
    voxels = np.random.default_rng(1).integers(-1000, 1000, (23, 17, 19)).astype(np.int16)
    sealed(voxels, 0, voxels.shape, -1000)
    field = ClosedField(ThresholdField(voxels, 0.5), reach)
    size = tuple(2 * far + 1 for far in reach)
    wide = np.pad(voxels, 20, constant_values=-1000)
    closed = ndimage.minimum_filter(ndimage.maximum_filter(wide, size), size)[20:-20, 20:-20, 20:-20]
    for first, last in ((0, 4), (3, 12), (11, 23), (0, 23)):
        found = field.slab(first, last)
        inner = slice(max(1, first) - first, min(22, last) - first)
        np.testing.assert_array_equal(found[inner, 1:-1, 1:-1], closed[first:last][inner, 1:-1, 1:-1])


@pytest.mark.parametrize("most", [1, 100, 255])
def test_fractions_are_meshed_where_half_is_filled(most: int) -> None:
    """Shares that fall from 1 to 0 around a ball give that ball, not all that is not empty."""
    grid = np.indices((50, 50, 50)) - 24.5
    share = np.clip((22 - np.sqrt((grid**2).sum(axis=0))) / 12, 0, 1)
    mask = volume_of(np.rint(share * most).astype(np.uint8), unit="")
    recipe = Recipe.model_validate({"parts": [{"name": "x", "select": {"kind": "segment", "number": 1}}]})
    found = extract(select(recipe.parts[0], recipe, replace(mask, slope=1 / most)).field)
    assert wrong_edges(found) == 0
    assert volume_and_area(found)[0] == pytest.approx(4 / 3 * math.pi * 16**3, rel=0.03)


def test_fractions_below_a_half_are_nothing() -> None:
    """A segment that fills no voxel by half is refused, not meshed as a whole."""
    mask = volume_of(np.full((9, 9, 9), 49, np.uint8), unit="")
    recipe = Recipe.model_validate({"parts": [{"name": "x", "select": {"kind": "segment", "number": 1}}]})
    with pytest.raises(EmptyPart):
        select(recipe.parts[0], recipe, replace(mask, slope=1 / 100))


@pytest.mark.parametrize("radius", [3.3, 6.0, 14.0])
def test_mask_has_the_volume_of_its_voxels(radius: float) -> None:
    """A small ball is not smaller than its voxels, smooth as its surface is: within 1 %."""
    mask = (ball_voxels((40, 40, 40), (20.2, 19.7, 20), radius) > 1000).astype(np.uint8)
    recipe = Recipe.model_validate({"parts": [{"name": "x", "select": {"kind": "segment", "number": 1}}]})
    found = extract(select(recipe.parts[0], recipe, volume_of(mask, unit="")).field)
    assert wrong_edges(found) == 0
    assert volume_and_area(found)[0] == pytest.approx(mask.sum(), rel=0.01)


def test_mask_keeps_thin_things() -> None:
    """A rod of one voxel stays a body as long as it was."""
    rod = np.zeros((9, 9, 40), np.uint8)
    rod[4, 4, 5:35] = 1
    found = extract(MaskField(rod))
    assert wrong_edges(found) == 0
    assert bounding_box(found).size_mm[0] == pytest.approx(30, abs=1)


def test_nothing_gives_an_empty_surface() -> None:
    """Where no voxel is inside there are no triangles, and no error."""
    assert isinstance(extract(_field(_ball(), 5000)), Surface)
    assert len(extract(_field(_ball(), 5000)).triangles) == 0
