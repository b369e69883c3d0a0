"""What whoever gets a model is told of the series that it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.mesh_series import AXIAL, along, mr, series, with_samples, written
from pacs.mesh.reading.series import read_series

SIZE = 64
AIR_HU, BODY_HU, METAL_HU, NOT_MEASURED_HU = -1000, 40, 3071, -2000


def _codes(folder: Path, hu: np.ndarray, gap_mm: float = 1.0, **attributes: object) -> dict[str, dict[str, object]]:
    """Read a series whose slices all look like `hu` and return its warnings by code."""
    images = series(along(AXIAL, [gap_mm * number for number in range(5)]), **attributes)
    volume = read_series(written([with_samples(image, hu.astype(np.int16)) for image in images], folder))
    return {warning.code: dict(warning.values) for warning in volume.warnings}


def _body(radius: float, shift: float = 0) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.where(np.hypot(rows - SIZE / 2, columns - SIZE / 2 - shift) < radius, BODY_HU, AIR_HU)


def test_ordinary_series_has_no_warnings(tmp_path: Path) -> None:
    """A body within the field, thin slices, a usual kernel: nothing is said."""
    assert _codes(tmp_path, _body(24), ConvolutionKernel="B40s") == {}


@pytest.mark.parametrize(("gap_mm", "is_told"), [(1.0, False), (1.5, False), (1.6, True), (5.0, True)])
def test_wide_gaps_are_told(tmp_path: Path, gap_mm: float, is_told: bool) -> None:  # noqa: FBT001
    """Slices more than 1.5 mm apart lose small parts."""
    assert _codes(tmp_path, _body(24), gap_mm).get("slice_gap") == ({"gap_mm": gap_mm} if is_told else None)


def test_metal_is_told(tmp_path: Path) -> None:
    """Voxels beyond 3000 HU are metal; a few are noise."""
    hu = _body(24)
    hu[30, 30] = METAL_HU
    assert "metal" not in _codes(tmp_path / "noise", hu)
    hu[30, 30:35] = METAL_HU
    assert _codes(tmp_path / "metal", hu)["metal"] == {"voxels": 25, "above_hu": 3000.0}


@pytest.mark.parametrize(
    ("radius", "shift", "circle", "slices"),
    [(24, 0, SIZE, 0), (24, 20, SIZE, 5), (28, 0, 31.5, 0), (31.5, 0, 31.5, 5), (24, 12, 31.5, 5)],
    ids=["within", "cut at the edge", "within the circle", "fills the circle", "cut by the circle"],
)
def test_body_that_is_cut_off_is_told(tmp_path: Path, radius: float, shift: float, circle: float, slices: int) -> None:
    """A body that reaches the border of the field, or of the circle that was reconstructed, ends in a flat wall."""
    hu = _body(radius, shift)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    hu[np.hypot(rows - 31.5, columns - 31.5) > circle] = NOT_MEASURED_HU
    found = _codes(tmp_path, hu)
    assert found.get("truncated_field_of_view") == ({"slices": slices} if slices else None)


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        *(
            (name, "sharp")
            for name in ("B70f", "B60s", "Hr68h", "Br64d", "BONE", "BONEPLUS", "LUNG", "EDGE", "YC", "FC30")
        ),
        *((name, "soft") for name in ("B10f", "B20s", "H20s", "SOFT", "FC02")),
        *((name, None) for name in ("B30f", "B40s", "Br40d", "STANDARD", "B", "UB", "FC08", "STD+", "")),
    ],
)
def test_kernel_is_told_if_it_is_sharp_or_soft(tmp_path: Path, kernel: str, kind: str | None) -> None:
    """Sharp kernels thicken bone and make islands of noise, soft ones lose thin bone; names are those of vendors."""
    found = _codes(tmp_path, _body(24), ConvolutionKernel=kernel).get("kernel")
    assert found == ({"kernel": kernel, "is": kind} if kind else None)


def test_values_without_a_unit_say_nothing_of_metal(tmp_path: Path) -> None:
    """An MR has no HU: high values at the border are no cut body and no metal."""
    images = mr([with_samples(one, np.full((20, 20), 4000, np.int16)) for one in series(along(AXIAL, [0, 1, 2]))])
    assert read_series(written(images, tmp_path)).warnings == ()
