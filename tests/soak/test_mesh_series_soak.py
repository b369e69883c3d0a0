"""Each tissue of each real series, made in every way: whole in memory and in every file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.mesh_files import parts_of
from fixtures.mesh_sources import ArraySource
from fixtures.real_series import PHANTOM, READABLE, REAL, instances, unpacked_phantom
from pacs.mesh import pipeline
from pacs.mesh.edges import bad_edges
from pacs.mesh.errors import EmptyPart
from pacs.mesh.measuring import volume_and_area
from pacs.mesh.reading.series import InstanceFile, read_series, sub_volumes
from pacs.mesh.recipe import Format, Preset, Recipe
from pacs.mesh.volume import Volume

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not REAL.is_dir(), reason="the real series are not beside the checkout"),
]
TISSUES: tuple[dict[str, Any], ...] = (
    *({"kind": "preset", "preset": preset.value} for preset in Preset),
    {"kind": "otsu"},
    {"kind": "window", "low": -150, "high": -30},
)
WAYS: tuple[dict[str, Any], ...] = (
    {"smooth_iterations": 0},
    {},
    {"reduce": {"share": 0.9}, "formats": list(Format)},
    {"reduce": {"share": 0.5}, "smooth_iterations": 0},
    {"reduce": {"share": 0.97}, "smooth_iterations": 100},
    {"reduce": {"triangles": 5000}, "formats": list(Format)},
    {"reduce": {"deviation_mm": 0.3}},
    {"reduce": {"share": 0.8}, "keep": "largest", "close_holes_mm": 3},
)


def _files(name: str, folder: Path) -> list[InstanceFile]:
    return unpacked_phantom(folder) if name == PHANTOM.name else instances(READABLE[name])


@pytest.mark.parametrize("name", [*READABLE, PHANTOM.name])
def test_every_model_of_every_real_series_is_whole(name: str, tmp_path: Path) -> None:
    """No open edge and none of more than two triangles by index, whatever is meshed, smoothed, reduced and written."""
    files = _files(name, tmp_path)
    for sub_volume in sub_volumes(files):
        volume = read_series(files, sub_volume.name)
        for select in TISSUES:
            if volume.unit == "HU" or select["kind"] != "preset":
                _require_whole(volume, select, tmp_path)


def _require_whole(volume: Volume, select: dict[str, Any], place: Path) -> None:
    for way in WAYS:
        recipe = Recipe.model_validate({"parts": [{"select": select}], "formats": ["ply"], **way})
        try:
            report = pipeline.make(ArraySource(volume), recipe, place)
        except EmptyPart:
            return  # there is no such tissue
        told = (volume.series_instance_uid, select, way)
        assert report.is_watertight, told
        for file in report.files:
            if file.name.endswith(".mtl"):
                continue
            (surface,) = parts_of(place / file.name)
            assert volume_and_area(surface)[0] == pytest.approx(report.volume_mm3, rel=1e-3), told
            allowed = report.parts[0].edges.welded_edges if file.format is Format.STL else 0
            assert len(bad_edges(surface.triangles)) <= allowed, told
