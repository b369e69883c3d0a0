"""Connected pieces on voxels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from fixtures.mesh_sources import recipe_of, small_phantom, volume_of, wrong_edges
from pacs.mesh.errors import EmptyPart
from pacs.mesh.field import threshold_field
from pacs.mesh.measuring import volume_and_area
from pacs.mesh.parts import find_pieces
from pacs.mesh.recipe import Part, Preset, PresetSelection
from pacs.mesh.selection import select
from pacs.mesh.surface import extract


@pytest.mark.parametrize("seed", range(6))
def test_pieces_are_those_of_labelling(seed: int) -> None:
    """On noise of any density the pieces have the sizes that SciPy's labelling gives."""
    random = np.random.default_rng(seed)
    voxels = np.zeros((15, 16, 17), np.int16)
    voxels[1:-1, 1:-1, 1:-1] = random.random((13, 14, 15)) < (0.05, 0.2, 0.3, 0.4, 0.6, 0.9)[seed]
    volume = volume_of(voxels)
    pieces = find_pieces(threshold_field(volume, volume.voxels, 0, None))
    labels, _ = ndimage.label(voxels)
    assert sorted(pieces.voxels.tolist()) == sorted(np.bincount(labels.reshape(-1))[1:].tolist())


def test_largest_piece_keeps_its_cavity() -> None:
    """Of a shell with a core and beads in it the shell stays, hollow."""
    phantom, volume = small_phantom()
    truth = phantom.at_level(300)
    recipe = recipe_of(300, keep="largest")
    selected = select(recipe.parts[0], recipe, volume)
    found = extract(selected.field).moved(selected.affine)
    shell = truth.bodies[0].volume_mm3 + truth.bodies[1].volume_mm3
    assert (selected.pieces, selected.pieces_dropped) == (1, 25)
    assert wrong_edges(found) == 0
    assert volume_and_area(found)[0] == pytest.approx(shell, rel=0.02)


def test_small_pieces_go_by_their_volume() -> None:
    """What is below the volume asked for goes, what is above stays, and the rest of the surface is untouched."""
    _, volume = small_phantom()
    bead = 4 / 3 * math.pi * (7 * 0.25) ** 3
    recipe = recipe_of(300, min_volume_mm3=bead * 4)
    selected = select(recipe.parts[0], recipe, volume)
    assert (selected.pieces, selected.pieces_dropped) == (2, 24)
    all_of_it = extract(threshold_field(volume, volume.voxels, 300, None))
    kept = extract(selected.field)
    known = {tuple(point) for point in all_of_it.points.tolist()}
    assert all(tuple(point) in known for point in kept.points.tolist())


def test_lung_leaves_the_air_around_the_patient_out() -> None:
    """Air in the body is lung, air that touches the sides of the images is not, and lungs may touch the last slice."""
    voxels = np.full((20, 40, 40), -1000, np.int16)
    rows, columns = np.ogrid[:40, :40]
    voxels[:, (rows - 20) ** 2 + (columns - 20) ** 2 < 15**2] = 40
    voxels[1:19, (rows - 20) ** 2 + (columns - 20) ** 2 < 6**2] = -850
    recipe = recipe_of(0)
    part = Part(name="lung", select=PresetSelection(preset=Preset.LUNG))
    selected = select(part, recipe, volume_of(voxels, outside=-1000))
    found = extract(selected.field)
    assert wrong_edges(found) == 0
    assert volume_and_area(found)[0] == pytest.approx(18 * math.pi * 6**2, rel=0.1)


def test_nothing_wanted_is_refused_with_what_there_is() -> None:
    """The refusal tells how large the largest piece is."""
    recipe = recipe_of(500, min_volume_mm3=1000)
    voxels = np.zeros((9, 9, 9), np.int16)
    voxels[4, 4, 4:6] = 1000
    with pytest.raises(EmptyPart, match="the largest has 2 voxels"):
        select(recipe.parts[0], recipe, volume_of(voxels))
