"""Whatever a scanner or an archive makes of a series, its models are whole: from DICOM files to files of models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    JPEGLosslessSV1,
    JPEGLSLossless,
    PositronEmissionTomographyImageStorage,
    RLELossless,
    generate_uid,
)

from fixtures.mesh_files import parts_of
from fixtures.mesh_series import AXIAL, OBLIQUE, SAGITTAL, TILTED, along, enhanced, mr, series, with_samples, written
from fixtures.mesh_sources import wrong_edges
from fixtures.transfer_syntaxes import in_syntax
from pacs.mesh import pipeline
from pacs.mesh.errors import EmptyPart
from pacs.mesh.jobs.source_files import FileSource
from pacs.mesh.measuring import volume_and_area
from pacs.mesh.recipe import Format, Recipe

SLICES, SIZE = 7, (12, 13)
ROOM = SLICES * SIZE[0] * SIZE[1]
# Each does something else to the triangles; the surface of noise has as many pinches as there can be.
RECIPES: tuple[dict[str, Any], ...] = (
    {"smooth_iterations": 0},
    {"reduce": {"share": 0.9}, "formats": list(Format)},
    {"reduce": {"deviation_mm": 0.3}, "smooth_iterations": 100},
    {"reduce": {"share": 0.3}, "smooth_iterations": 0, "keep": "largest"},
    {"reduce": {"triangles": 200}, "close_holes_mm": 3.0},
    {"box_mm": {"x_mm": [-18.0, 14.0], "y_mm": [-3.0, 12.0], "z_mm": [-12.0, 13.0]}, "reduce": {"share": 0.5}},
)


def _noise(low: int, high: int, dtype: str, slices: int = SLICES) -> NDArray[Any]:
    """Return noise that reaches every side of the images."""
    return np.random.default_rng(5).integers(low, high, (slices, *SIZE), endpoint=True).astype(dtype)


def _stack(
    samples: NDArray[Any],
    orientation: Sequence[float] = AXIAL,
    bits: int | None = None,
    gaps_mm: Sequence[float] | None = None,
    **attributes: object,
) -> list[Dataset]:
    offsets = [2.0 * number for number in range(len(samples))] if gaps_mm is None else np.cumsum([0.0, *gaps_mm])
    images = series(along(orientation, list(offsets)), orientation, **attributes)
    return [with_samples(image, layer, bits) for image, layer in zip(images, samples, strict=True)]


def _ct(orientation: Sequence[float] = AXIAL, **attributes: Any) -> list[Dataset]:
    return _stack(_noise(-1000, 1500, "i2"), orientation, **attributes)


def _mr(orientation: Sequence[float]) -> list[Dataset]:
    return mr(_stack(_noise(0, 900, "u2"), orientation, 12))


def _pet() -> list[Dataset]:
    images = _stack(_noise(0, 32767, "i2"), SOPClassUID=PositronEmissionTomographyImageStorage, Modality="PT")
    for number, image in enumerate(images):
        image.RescaleSlope, image.Units = 0.3 + 0.1 * number, "BQML"
    return images


def _tilted() -> list[Dataset]:
    images = _ct(TILTED)
    for number, image in enumerate(images):
        image.ImagePositionPatient = [-9.0, -8.0, 3.0 + 2.0 * number]
    return images


def _sent_twice() -> list[Dataset]:
    images = _ct()
    again = [Dataset(image) for image in images]
    for image, copy in zip(images, again, strict=True):
        copy.file_meta, copy.SOPInstanceUID = image.file_meta, generate_uid()
    return images + again


def _frames(*, is_mr: bool) -> list[Dataset]:
    image = enhanced(along(AXIAL, [2.0 * number for number in range(SLICES)]), is_mr=is_mr)
    samples = _noise(-900, 900, "i2")
    image.Rows, image.Columns = SIZE
    image.PixelData = samples.tobytes()
    return [image]


def _compressed(syntax: UID) -> list[Dataset]:
    return [in_syntax(image, syntax) for image in _stack(_noise(0, 4095, "u2"), bits=12, RescaleIntercept=-1024)]


SERIES: dict[str, Callable[[], list[Dataset]]] = {
    "two slices": lambda: _stack(_noise(-1000, 1500, "i2", slices=2)),
    "slices sent twice": _sent_twice,
    "12 bits": lambda: _stack(_noise(0, 4095, "u2"), bits=12, RescaleIntercept=-1024),
    "8 bits": lambda: _stack(_noise(0, 255, "u1")),
    "all of 16 signed bits": lambda: _stack(_noise(-(2**15), 2**15 - 1, "i2")),
    "all of 16 unsigned bits": lambda: _stack(_noise(0, 2**16 - 1, "u2")),
    "two values": lambda: _stack(_noise(0, 1, "i2") * 600),
    "an intercept for each slice": lambda: [
        image for number, image in enumerate(_ct()) if not setattr(image, "RescaleIntercept", -10 * number)
    ],
    "a slope for each slice": _pet,
    "oblique MR": lambda: _mr(OBLIQUE),
    "sagittal MR": lambda: _mr(SAGITTAL),
    "dark is bright": lambda: mr(_stack(_noise(0, 900, "u2"), bits=12, PhotometricInterpretation="MONOCHROME1")),
    "tilted gantry": _tilted,
    "uneven gaps": lambda: _ct(gaps_mm=[1.1, 1.4, 2.0, 2.9, 3.6, 5.0]),
    "enhanced CT": lambda: _frames(is_mr=False),
    "enhanced MR": lambda: _frames(is_mr=True),
    "JPEG Lossless": lambda: _compressed(JPEGLosslessSV1),
    "JPEG-LS": lambda: _compressed(JPEGLSLossless),
    "RLE": lambda: _compressed(RLELossless),
}


def _source(images: list[Dataset], folder: Path) -> FileSource:
    return FileSource(tuple(written(images, folder)), {})


def _recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"parts": [{"select": {"kind": "otsu"}}], "formats": ["ply"], **fields})


@pytest.mark.parametrize("name", SERIES)
def test_models_of_any_series_are_whole(name: str, tmp_path: Path) -> None:
    """No edge is open or in more than two triangles, in memory or read back, and each file has the same volume."""
    source = _source(SERIES[name](), tmp_path / "series")
    for number, fields in enumerate(RECIPES):
        place = tmp_path / str(number)
        place.mkdir()
        report = pipeline.make(source, _recipe(**fields), place)
        (part,) = report.parts
        assert (part.edges.boundary_edges, part.edges.non_manifold_edges) == (0, 0)
        assert part.volume_mm3 > 0
        for file in report.files:
            if file.name.endswith(".mtl"):
                continue
            (surface,) = parts_of(place / file.name)
            assert volume_and_area(surface)[0] == pytest.approx(part.volume_mm3, rel=1e-3)
            wrong = part.edges.welded_edges if file.format is Format.STL else 0
            assert (file.format, wrong_edges(surface)) == (file.format, wrong)


THRESHOLDS: dict[str, tuple[NDArray[Any], dict[str, Any], float]] = {
    "all bone": (np.full((SLICES, *SIZE), 1000, "i2"), {"low": 226}, ROOM),
    "below every value": (_noise(-500, 500, "i2"), {"low": -3000}, ROOM),
    "below every value that there can be": (_noise(0, 2**16 - 2, "u2") + np.uint16(1), {"low": -1e6}, ROOM),
    "the highest value": (np.where(_noise(0, 1, "i2") > 0, 2**15 - 1, 0).astype("i2"), {"low": 2**15 - 1}, 0),
    "one voxel in the corner": (np.pad([[[900]]], ((0, 6), (0, 11), (0, 12))).astype("i2"), {"low": 300}, 0),
    "a window that holds all": (_noise(-500, 500, "i2"), {"low": -600, "high": 600}, ROOM),
    "air as a window": (np.full((SLICES, *SIZE), -1000, "i2"), {"low": -1010, "high": -900}, ROOM),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_thresholds_at_the_end_of_the_values_close(name: str, tmp_path: Path) -> None:
    """What fills the images is closed at their sides and has their volume; what is a voxel is a body."""
    samples, window, voxels = THRESHOLDS[name]
    source = _source(_stack(samples), tmp_path / "series")
    recipe = _recipe(parts=[{"select": {"kind": "window", **window}}], smooth_iterations=0)
    report = pipeline.make(source, recipe, tmp_path)
    (surface,) = parts_of(tmp_path / "model.ply")
    assert wrong_edges(surface) == 0
    voxel_mm3 = 1.25 * 1.5 * 2
    assert report.volume_mm3 > 0
    # A wall lies anywhere within the voxel beside it.
    low, high = (np.prod([side + more for side in samples.shape]) * voxel_mm3 for more in (-1, 1))
    assert not voxels or low <= report.volume_mm3 <= high


@pytest.mark.parametrize(
    "select",
    [{"kind": "preset", "preset": "bone"}, {"kind": "preset", "preset": "lung"}, {"kind": "window", "low": 5000}],
    ids=lambda select: "-".join(map(str, select.values())),
)
def test_series_of_air_is_refused(select: dict[str, Any], tmp_path: Path) -> None:
    """Where there is nothing the answer says so."""
    source = _source(_stack(np.full((SLICES, *SIZE), -1000, "i2")), tmp_path)
    with pytest.raises(EmptyPart):
        pipeline.make(source, _recipe(parts=[{"select": select}]), tmp_path)


@pytest.mark.parametrize("value", [-1000, 0, 7], ids=["air", "zero", "seven"])
@pytest.mark.parametrize("kind", ["CT", "MR", "PET"])
def test_series_of_one_value_is_whole_or_refused(kind: str, value: int, tmp_path: Path) -> None:
    """Otsu and the value itself find either the box of the images or nothing, never a surface with holes."""
    images = _stack(np.full((SLICES, *SIZE), value, "i2"))
    if kind == "MR":
        mr(images)
    for number, image in enumerate(images if kind == "PET" else []):
        image.SOPClassUID, image.Modality = PositronEmissionTomographyImageStorage, "PT"
        image.RescaleSlope, image.RescaleIntercept = 1 + number % 2, -(number % 2) * value
    source = _source(images, tmp_path)
    for select in ({"kind": "otsu"}, {"kind": "window", "low": value}, {"kind": "window", "low": value - 1}):
        try:
            report = pipeline.make(source, _recipe(parts=[{"select": select}]), tmp_path)
        except EmptyPart:
            continue
        assert report.is_watertight
        assert [wrong_edges(surface) for surface in parts_of(tmp_path / "model.ply")] == [0]
