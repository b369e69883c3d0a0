"""Where the voxels of a series lie in the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.mesh_series import (
    AXIAL,
    COLUMNS,
    CORONAL,
    OBLIQUE,
    ROWS,
    SAGITTAL,
    SPACING_MM,
    TILTED,
    along,
    enhanced,
    off_place_mm,
    series,
    without,
    written,
)
from pacs.mesh.reading.series import estimate, read_series

EVEN = [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
UNEVEN = [0.0, 1.08, 5.08, 9.08, 13.08, 20.08, 27.08, 34.08]
# The table moves along z whatever the gantry's tilt.
ALONG_Z = [[-9.0, -8.0, 3.0 + offset] for offset in EVEN]
UNEVEN_ALONG_Z = [[-9.0, -8.0, 3.0 + offset] for offset in UNEVEN]
STACKS = {
    "axial": (along(AXIAL, EVEN), AXIAL),
    "sagittal": (along(SAGITTAL, EVEN), SAGITTAL),
    "coronal": (along(CORONAL, EVEN), CORONAL),
    "oblique": (along(OBLIQUE, EVEN), OBLIQUE),
    "feet first, from top to bottom": (along(AXIAL, [-offset for offset in EVEN]), AXIAL),
    "tilted gantry": (ALONG_Z, TILTED),
    "uneven": (along(AXIAL, UNEVEN), AXIAL),
    "uneven, oblique": (along(OBLIQUE, UNEVEN), OBLIQUE),
    "uneven, tilted gantry": (UNEVEN_ALONG_Z, TILTED),
    "two slices": (along(AXIAL, [0.0, 3.0]), AXIAL),
}


@pytest.mark.parametrize("name", STACKS)
def test_series_lies_where_its_positions_say(tmp_path: Path, name: str) -> None:
    """Each voxel lies within 0.01 mm of where the scanner measured it, whatever the orientation, tilt and gaps."""
    volume = read_series(written(series(*STACKS[name]), tmp_path))
    # Interpolated integers are rounded once more.
    assert off_place_mm(volume) <= 0.01
    assert volume.geometry.handedness == 1


@pytest.mark.parametrize("name", ["axial", "sagittal", "oblique", "tilted gantry", "uneven, tilted gantry"])
@pytest.mark.parametrize("is_mr", [False, True], ids=["CT", "MR"])
def test_enhanced_image_lies_where_its_frames_say(tmp_path: Path, name: str, is_mr: bool) -> None:  # noqa: FBT001
    """The frames of an enhanced image are slices: each has its own place, and its own slope."""
    volume = read_series(written([enhanced(*STACKS[name], is_mr=is_mr)], tmp_path))
    assert off_place_mm(volume) <= 0.02  # frames with a slope are rounded to 1.5
    assert volume.unit == ("" if is_mr else "HU")
    assert len(volume.sources) == 1


def test_volume_has_a_layer_of_air_around_it(tmp_path: Path) -> None:
    """The volume is padded by one voxel of what is outside, which is darker than everything in it."""
    volume = read_series(written(series(along(AXIAL, EVEN)), tmp_path))
    assert volume.voxels.shape == (len(EVEN) + 2, ROWS + 2, COLUMNS + 2)
    inner = np.zeros(volume.voxels.shape, bool)
    inner[1:-1, 1:-1, 1:-1] = True
    assert set(volume.voxels[~inner].tolist()) == {volume.outside}
    assert volume.outside <= min(volume.voxels.min(), -1000)
    assert volume.geometry.spacing_mm == pytest.approx((SPACING_MM[1], SPACING_MM[0], 2.0))
    assert volume.geometry.voxel_volume_mm3 == pytest.approx(SPACING_MM[0] * SPACING_MM[1] * 2.0)


def test_tilted_gantry_makes_a_sheared_volume(tmp_path: Path) -> None:
    """Slices of a tilted gantry are neither moved nor resampled: the columns of the geometry are not perpendicular."""
    volume = read_series(written(series(ALONG_Z, TILTED), tmp_path))
    assert volume.geometry.affine[:3, 2] == pytest.approx([0, 0, 2.0])
    assert {warning.code: warning.values for warning in volume.warnings}["tilt"] == {"degrees": 18.5}


def test_uneven_gaps_are_resampled_to_the_smallest(tmp_path: Path) -> None:
    """Gaps of 1.08 to 7 mm become slices 1.08 mm apart, and whoever gets the model is told."""
    volume = read_series(written(series(along(AXIAL, UNEVEN)), tmp_path))
    warning = {warning.code: warning.values for warning in volume.warnings}["uneven_gaps_resampled"]
    assert volume.geometry.spacing_mm[2] == pytest.approx(1.08, rel=0.02)
    assert warning == {"smallest_mm": 1.08, "largest_mm": 7.0, "slices": volume.voxels.shape[0] - 2}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("scale", [2, 4])
def test_smaller_volume_lies_where_the_whole_one_lies(tmp_path: Path, name: str, scale: int) -> None:
    """A volume for a preview has fewer voxels, each in its place."""
    files = written(series(*STACKS[name]), tmp_path)
    whole, smaller = read_series(files), read_series(files, scale=scale)
    assert off_place_mm(smaller) <= 0.02
    assert smaller.voxels.shape[1:] == (ROWS // scale + 2, COLUMNS // scale + 2)
    assert smaller.voxels.size <= whole.voxels.size / scale


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("scale", [1, 2])
def test_estimate_is_what_the_volume_needs(tmp_path: Path, name: str, scale: int) -> None:
    """The shape is known from the headers; the bytes are the array's, and of uneven stacks the slices' beside."""
    files = written(series(*STACKS[name]), tmp_path)
    volume, foreseen = read_series(files, scale=scale), estimate(files, scale=scale)
    assert foreseen.shape == volume.voxels.shape
    if "uneven" in name:
        assert volume.voxels.nbytes < foreseen.bytes < 2 * volume.voxels.nbytes
    else:
        assert foreseen.bytes == volume.voxels.nbytes


def test_thickness_and_spacing_that_headers_name_count_for_nothing(tmp_path: Path) -> None:
    """Slices are placed by their positions, however thick they are and however far apart they are said to be."""
    images = series(along(AXIAL, EVEN), SliceThickness=5, SpacingBetweenSlices=-7)
    without(images[2], "SliceThickness", "SpacingBetweenSlices")
    assert off_place_mm(read_series(written(images, tmp_path))) <= 0.01


def test_positions_rounded_by_the_scanner_are_even(tmp_path: Path) -> None:
    """Positions with two decimals of a spacing with four are even, not resampled."""
    positions = [[-9.0, -8.0, round(3 + 0.6328 * number, 2)] for number in range(20)]
    volume = read_series(written(series(positions), tmp_path))
    assert volume.voxels.shape[0] == 22
    assert off_place_mm(volume) <= 0.01


def test_progress_is_told_until_all_is_read(tmp_path: Path) -> None:
    """Progress ends with 1 and never goes beyond."""
    told: list[float] = []
    read_series(written(series(along(AXIAL, EVEN)), tmp_path), progress=told.append)
    assert max(told) == 1.0
    assert len(told) == len(EVEN)
