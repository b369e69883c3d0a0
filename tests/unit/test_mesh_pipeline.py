"""The whole way from voxels to files and the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy import ndimage

from fixtures.mesh_sources import ArraySource, ball_voxels, recipe_of, small_phantom, volume_of
from fixtures.model_reports import report_of
from pacs.mesh import pipeline, preview
from pacs.mesh.assessment import notices
from pacs.mesh.errors import EmptyPart, MeshCancelled
from pacs.mesh.field import sealed
from pacs.mesh.recipe import Box, Format, MaskSelection, Recipe
from pacs.mesh.report import Deviation, Report
from pacs.mesh.stages import Stage
from pacs.mesh.volume import Volume


@pytest.fixture
def source() -> ArraySource:
    """Give the small phantom with the noise of a CT."""
    return ArraySource(small_phantom(noise_hu=25.0)[1])


def test_model_of_the_phantom_is_whole_and_true(source: ArraySource, tmp_path: Path) -> None:
    """Files and report tell the same, and both the truth."""
    phantom, _ = small_phantom()
    truth = phantom.at_level(300)
    report = pipeline.make(source, recipe_of(300, reduce={"share": 0.9}, formats=list(Format)), tmp_path)
    (part,) = report.parts
    assert report.volume_mm3 == pytest.approx(truth.volume_mm3, rel=0.03)
    assert report.area_mm2 == pytest.approx(truth.area_mm2, rel=0.05)
    assert report.is_watertight
    assert part.edges.welded_edges == 0
    assert part.triangles <= round(part.full_triangles / 10)
    assert part.deviation is not None
    assert part.deviation.p99_mm < 0.5
    assert (part.level, part.unit) == (300, "HU")
    assert report.sources[0].sop_instance_uid == "1.2.3.4.1"
    assert report.versions["vtk"]
    assert [file.name for file in report.files] == [
        "model.stl", "model.ply", "model.obj", "model.mtl", "model.glb", "model.3mf",
    ]  # fmt: skip
    for file in report.files:
        content = (tmp_path / file.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size_bytes, file.sha256)
    read = trimesh.load(tmp_path / "model.stl")
    assert read.volume == pytest.approx(report.volume_mm3, rel=1e-4)
    np.testing.assert_allclose(read.bounds[1], report.bounding_box.high_mm, atol=1e-3)
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_same_recipe_gives_the_same_bytes(source: ArraySource, tmp_path: Path) -> None:
    """Made twice a model is the same, so that it can be kept."""
    digests = []
    for name in "ab":
        (tmp_path / name).mkdir()
        report = pipeline.make(source, recipe_of(300, reduce={"deviation_mm": 0.2}), tmp_path / name)
        digests.append(report.files[0].sha256)
    assert digests[0] == digests[1]


def test_full_isosurface_deviates_by_nothing(source: ArraySource, tmp_path: Path) -> None:
    """Without smoothing and reduction all triangles are there, and the report says zero."""
    report = pipeline.make(source, recipe_of(300, smooth_iterations=0), tmp_path)
    (part,) = report.parts
    assert part.triangles == part.full_triangles
    assert part.deviation is not None
    assert part.deviation.max_mm == 0


@pytest.mark.parametrize("smooth", [0, 60])
def test_deviation_is_kept_or_told(tmp_path: Path, smooth: int) -> None:
    """Noise that is reduced stays within what was asked for; where smoothing leads away from it, a notice says so."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 1, (40, 40, 40)), 1.2)
    noise = np.pad(np.rint(noise / noise.std() * 300).astype(np.int16)[1:-1, 1:-1, 1:-1], 1, constant_values=-1000)
    recipe = recipe_of(200, smooth_iterations=smooth, reduce={"deviation_mm": 0.2})
    report = pipeline.make(ArraySource(volume_of(noise)), recipe, tmp_path)
    deviation = report.parts[0].deviation
    assert deviation is not None
    assert deviation.samples > 0.95 * report.parts[0].full_triangles / 2  # vertices
    told = [notice.values for notice in report.notices if notice.code == "deviation_missed"]
    if deviation.max_mm > 0.2:
        assert told == [{"part": "bone", "max_mm": deviation.max_mm, "wanted_mm": 0.2}]
    else:
        assert not told
    assert bool(told) == (smooth > 0)


def test_specks_of_noise_are_told_and_cost_no_triangles(tmp_path: Path) -> None:
    """Islands of noise are left out, with a notice, and the ball between them is reduced and measured by itself."""
    noise = np.rint(np.random.default_rng(1).normal(0, 90, (50, 50, 50))).astype(np.int16)
    voxels = ball_voxels((50, 50, 50), (24.6, 24.3, 24.4), 14.0) + noise
    recipe = recipe_of(226, reduce={"deviation_mm": 1})
    report = pipeline.make(ArraySource(volume_of(sealed(voxels, 0, voxels.shape, -1000))), recipe, tmp_path)
    (part,) = report.parts
    assert part.triangles < part.full_triangles / 10
    (told,) = [notice.values for notice in report.notices if notice.code == "specks_dropped"]
    assert told == {"part": "bone", "count": part.specks_dropped, "size_mm": 2.0}
    assert part.specks_dropped > 100
    assert part.deviation is not None
    assert part.deviation.max_mm < 1.5


@pytest.mark.parametrize(("max_mm", "told"), [(1.00136, []), (1.0051, ["deviation_missed"])])
def test_deviation_that_looks_kept_is_not_told_as_missed(max_mm: float, told: list[str]) -> None:
    """Nobody reads that a model is 1 mm off and that 1 mm was asked for."""
    deviation = Deviation(mean_mm=0.1, p99_mm=0.5, max_mm=max_mm, samples=3000)
    part = report_of().parts[0].model_copy(update={"deviation": deviation})
    assert [notice.code for notice in notices([part], None, 1.0)] == told


def test_ras_is_lps_turned(source: ArraySource, tmp_path: Path) -> None:
    """In RAS x and y have the other sign, and the body is not mirrored."""
    boxes, volumes = [], []
    for coordinates in ("LPS", "RAS"):
        recipe = recipe_of(300, keep="largest", smooth_iterations=0, coordinates=coordinates)
        report = pipeline.make(source, recipe, tmp_path)
        boxes.append(report.bounding_box)
        volumes.append(report.volume_mm3)
    assert volumes[0] == pytest.approx(volumes[1], rel=1e-6)
    assert boxes[1].low_mm[0] == pytest.approx(-boxes[0].high_mm[0], abs=1e-3)
    assert boxes[1].high_mm[2] == pytest.approx(boxes[0].high_mm[2], abs=1e-3)


def test_several_parts_share_the_triangles(tmp_path: Path) -> None:
    """Tissue and segment become named parts, and all of them together have no more triangles than asked for."""
    images = volume_of(ball_voxels((34, 34, 34), (16.3, 16.6, 15.8), 12))
    mask = volume_of((ball_voxels((34, 34, 34), (16.3, 16.6, 15.8), 6) > 1000).astype(np.uint8), unit="")
    recipe = Recipe.model_validate(
        {
            "parts": [
                {"name": "ball", "select": {"kind": "window", "low": 1000}},
                {"name": "core", "color": "#ff0000", "select": {"kind": "segment", "number": 2}},
            ],
            "reduce": {"triangles": 3000},
            "formats": ["glb", "stl"],
        }
    )
    report = pipeline.make(ArraySource(images, {2: mask}), recipe, tmp_path)
    assert 2900 <= report.triangles <= 3000
    assert [part.name for part in report.parts] == ["ball", "core"]
    assert report.parts[1].level is None
    assert report.parts[1].volume_mm3 == pytest.approx(mask.voxels.sum(), rel=0.03)
    assert [file.name for file in report.files] == ["model.glb", "model-ball.stl", "model-core.stl"]


@pytest.mark.parametrize(("slices", "told"), [(1, True), (12, False)])
def test_thin_segment_that_loses_volume_is_told(tmp_path: Path, *, slices: int, told: bool) -> None:
    """One slice of 5 x 5 voxels ends up as a fraction of them, and the report says how much; a thick block does not."""
    voxels = np.zeros((20, 24, 24), np.uint8)
    size = 5 if slices == 1 else 12
    voxels[4 : 4 + slices, 5 : 5 + size, 5 : 5 + size] = 1
    mask = volume_of(voxels, np.diag([1.0, 1.0, 3.75, 1.0]), unit="")
    recipe = Recipe.model_validate({"parts": [{"name": "x", "select": {"kind": "segment", "number": 1}}]})
    report = pipeline.make(ArraySource(mask, {1: mask}), recipe, tmp_path)
    (part,) = report.parts
    assert part.mask_mm3 == pytest.approx(voxels.sum() * 3.75)
    lost = [notice.values for notice in report.notices if notice.code == "volume_lost"]
    values = {"part": "x", "volume_mm3": part.volume_mm3, "mask_mm3": part.mask_mm3}
    assert lost == ([values] if told else [])
    boxed = recipe.model_copy(update={"box_mm": Box(x_mm=(0, 9), y_mm=(0, 9), z_mm=(0, 90))})
    assert pipeline.make(ArraySource(mask, {1: mask}), boxed, tmp_path).parts[0].mask_mm3 is None


def test_segment_alone_needs_no_images(tmp_path: Path) -> None:
    """A DICOM SEG has a grid of its own: no image is read, and the report names the segmentation."""
    mask = volume_of((ball_voxels((34, 34, 34), (16.3, 16.6, 15.8), 6) > 1000).astype(np.uint8), unit="")
    source = ArraySource(mask, {1: mask})
    recipe = Recipe.model_validate({"parts": [{"name": "x", "select": {"kind": "segment", "number": 1}}]})
    assert pipeline.make(source, recipe, tmp_path).series_instance_uid == mask.series_instance_uid
    assert source.reads == 0


def test_progress_names_every_stage_and_never_goes_back(source: ArraySource, tmp_path: Path) -> None:
    """Fractions rise from 0 to nearly 1 through all stages."""
    told: list[tuple[str, float]] = []
    pipeline.make(
        source, recipe_of(300, reduce={"share": 0.9}), tmp_path, lambda stage, fraction: told.append((stage, fraction))
    )
    fractions = [fraction for _, fraction in told]
    assert {stage for stage, _ in told} == {stage.value for stage in Stage}
    assert fractions == sorted(fractions)
    assert 0.9 < fractions[-1] <= 1


@pytest.mark.parametrize("stage", list(Stage))
def test_cancelling_ends_at_every_stage(source: ArraySource, stage: Stage, tmp_path: Path) -> None:
    """Whatever is being done, no model comes after the cancellation."""
    reached: list[str] = []
    with pytest.raises(MeshCancelled):
        pipeline.make(
            source,
            recipe_of(300, reduce={"share": 0.9}),
            tmp_path,
            lambda name, _fraction: reached.append(name),
            lambda: stage.value in reached,
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (lambda: recipe_of(5000), "found none"),
        (lambda: recipe_of(300, min_volume_mm3=1e9), "none is wanted"),
    ],
)
def test_nothing_to_make_is_refused(
    source: ArraySource, recipe: Callable[[], Recipe], told: str, tmp_path: Path
) -> None:
    """A threshold above everything and pieces larger than any are refused, with what to do."""
    with pytest.raises(EmptyPart, match=told):
        pipeline.make(source, recipe(), tmp_path)


def test_preview_is_small_and_reads_once(source: ArraySource, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview keeps to 5 MB; another threshold of the same content reads nothing again."""
    monkeypatch.setattr(preview, "MOST_VOXELS", 300_000)
    for low in (300, 500):
        content = preview.make(source, "content of this test", recipe_of(low))
        assert len(content) < 5_000_000
    assert source.reads == 1


def test_preview_has_a_region_on_the_grid_of_its_volume() -> None:
    """A region that was rasterised on one volume of a series is not shown with another."""
    ball = volume_of(ball_voxels((34, 34, 34), (16.3, 16.6, 15.8), 6))
    asked: list[object] = []

    class Regions(ArraySource):
        def mask(self, select: MaskSelection, reference: Volume | None) -> Volume:
            asked.append(select)
            return super().mask(select, reference)

    source = Regions(ball, {1: volume_of((ball.voxels > 1000).astype(np.uint8), unit="")})
    for sub_volume, times in (("1", 1), ("2", 2), ("2", 2)):
        parts = [{"name": "x", "select": {"kind": "roi", "number": 1}}]
        recipe = Recipe.model_validate({"parts": parts, "sub_volume": sub_volume})
        preview.make(source, "content of this test, of two volumes", recipe)
        assert len(asked) == times


def test_preview_heeds_its_triangles(source: ArraySource, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the surface is large, detail goes until it fits."""
    whole = preview.make(source, "content of this test, too", recipe_of(300))
    monkeypatch.setattr(preview, "MOST_TRIANGLES", 5000)
    coarse = preview.make(source, "content of this test, too", recipe_of(300))
    assert len(coarse) < 5000 * 24 * 1.3 < len(whole)
