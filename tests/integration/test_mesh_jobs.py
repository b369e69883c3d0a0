"""3D models as jobs of the running archive: ordered, made, kept, taken away, saved in the study."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
import trimesh

from fixtures.encapsulated_iods import faults_of
from fixtures.mesh_archives import BONE, ModelArchive, model_archive
from fixtures.model_sources import BONE_HU, bone_masks, contours, patient
from fixtures.segmentations import segmentation

ALL_FORMATS = ["stl", "ply", "obj", "glb", "3mf"]
THRESHOLD = {"parts": [{"name": "window", "select": {"kind": "window", "low": BONE_HU}}]}
GONE_SECONDS = 20.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelArchive]:
    """Return an archive for the module."""
    with model_archive(tmp_path_factory.mktemp("models")) as started:
        yield started


def volume_mm3(stl: bytes) -> float:
    """Return what an STL encloses."""
    mesh = trimesh.load(io.BytesIO(stl), file_type="stl")
    assert mesh.is_watertight
    return float(mesh.volume)


def test_order_becomes_a_model_with_its_report(archive: ModelArchive) -> None:
    """202 and an address; then every format, of the right type, each the same body; the report tells what it is."""
    job = archive.done(archive.order(formats=ALL_FORMATS))
    assert {one["format"]: one["media_type"] for one in job["files"] if one["media_type"] != "model/mtl"} == {
        "stl": "model/stl",
        "ply": "application/octet-stream",
        "obj": "application/zip",
        "glb": "model/gltf-binary",
        "3mf": "model/3mf",
    }
    report = archive.web.get(job["report"]).raise_for_status().json()
    assert report["is_watertight"]
    assert len(report["sources"]) == len(archive.images)
    assert volume_mm3(archive.file(job, "stl").content) == pytest.approx(report["volume_mm3"], rel=1e-3)
    names = zipfile.ZipFile(io.BytesIO(archive.web.get(job["files"][-1]["href"]).content)).namelist()
    assert names == ["model.obj", "model.mtl"]


def test_file_names_tell_nothing_of_the_patient(archive: ModelArchive) -> None:
    """Tissue, modality and a part of the model's key: what tells models apart, not whose they are."""
    job = archive.done(archive.order())
    disposition = archive.file(job, "stl").headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename=bone_CT_")
    assert not {"MODELO", "Ana", "3D-1"} & set(disposition.replace("_", " ").split())


def test_same_order_is_answered_from_the_shelf(archive: ModelArchive) -> None:
    """The second of two equal orders is done at once, with the very same bytes; another recipe is another model."""
    first, again, other = (archive.done(archive.order(recipe)) for recipe in (BONE, BONE, THRESHOLD))
    assert (again["cached"], other["cached"]) == (True, False)
    assert archive.file(first, "stl").content == archive.file(again, "stl").content
    assert archive.file(first, "stl").content != archive.file(other, "stl").content


def test_simple_address_gives_the_file(archive: ModelArchive) -> None:
    """One GET below Orthanc's series, for scripts that follow redirects."""
    answer = archive.web.get(f"/series/{archive.series}/mesh.stl?preset=bone&share=0.5", follow_redirects=True)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "model/stl")
    assert volume_mm3(answer.content) > 0
    assert answer.headers.get_list("Cache-Control") == ["private, no-cache"]
    assert archive.web.get(f"/series/{archive.series}").json()["Type"] == "Series"


@pytest.mark.parametrize(
    ("query", "words"),
    [("", "Expected what is to be made"), ("preset=gold", "preset"), ("presett=bone", "Unknown: presett")],
)
def test_simple_address_says_what_it_takes(archive: ModelArchive, query: str, words: str) -> None:
    """A mistake is a problem with the words that are known."""
    answer = archive.web.get(f"/series/{archive.series}/mesh.stl?{query}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert words in answer.json()["detail"]


def test_series_of_one_image_is_refused_with_its_reason(archive: ModelArchive) -> None:
    """No volume, no job: the answer says what is wrong."""
    series = archive.store(patient(PatientID="3D-2")[0])
    answer = archive.web.post(f"/pacs/mesh/{series}", json=BONE)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:pacs-cloud:problem:mesh-single-image")


def test_threshold_above_everything_fails_with_its_reason(archive: ModelArchive) -> None:
    """What only reading tells is the job's end; it is not tried again."""
    job = archive.over(archive.order({"parts": [{"select": {"kind": "window", "low": 3000}}]}))
    assert (job["state"], job["attempts"]) == ("failed", 1)
    assert job["error"]["type"] == "urn:pacs-cloud:problem:mesh-empty-part"


def test_segment_of_a_seg_is_as_large_as_its_voxels(archive: ModelArchive) -> None:
    """A DICOM SEG is a source of its own, with the names of its segments."""
    masks = bone_masks()
    series = archive.store(segmentation(archive.images, masks, ["shell", "core"]))
    held = archive.web.get(f"/pacs/mesh/{series}").raise_for_status().json()
    assert [(one["kind"], one["number"], one["name"]) for one in held["regions"]] == [
        ("segment", 1, "shell"),
        ("segment", 2, "core"),
    ]
    parts = [{"name": "core", "select": {"kind": "segment", "number": 2}}]
    job = archive.done(archive.order({"parts": parts, "smooth_iterations": 0}, series))
    voxels_mm3 = float(masks[1].sum()) * 1.5**3
    assert archive.web.get(job["report"]).json()["volume_mm3"] == pytest.approx(voxels_mm3, rel=0.03)


def test_roi_of_an_rtstruct_is_meshed_on_the_images_it_was_drawn_on(archive: ModelArchive) -> None:
    """Contours find their images by themselves."""
    series = archive.store(contours(archive.images))
    parts = [{"name": "core", "select": {"kind": "roi", "number": 1}}]
    job = archive.done(archive.order({"parts": parts, "smooth_iterations": 0}, series))
    assert archive.web.get(job["report"]).json()["volume_mm3"] == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.05)


def test_model_is_saved_in_its_study_once(archive: ModelArchive) -> None:
    """As a series of Encapsulated STL, OBJ and MTL, valid, that leads to its images; saved again it is the same."""
    job = archive.done(archive.order(formats=ALL_FORMATS))
    answers = [archive.web.post(f"{job['self']}/study", json={"formats": ["stl", "obj"]}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    saved, again = (archive.done(answer.headers["Location"]) for answer in answers)
    assert saved["instances"] == again["instances"]
    datasets = [
        pydicom.dcmread(io.BytesIO(archive.web.get(f"/instances/{one}/file").content)) for one in saved["instances"]
    ]
    assert [faults_of(dataset) for dataset in datasets] == [[], [], []]
    assert {str(dataset.StudyInstanceUID) for dataset in datasets} == {str(archive.images[0].StudyInstanceUID)}
    assert {str(dataset.PatientName) for dataset in datasets} == {"MODELO^Ana"}
    content = datasets[0].EncapsulatedDocument[: datasets[0].EncapsulatedDocumentLength]
    assert content == archive.file(job, "stl").content


def test_model_goes_with_its_series(archive: ModelArchive) -> None:
    """What was deleted from the archive is not kept as a model."""
    series = archive.store(*patient(PatientID="3D-3"))
    job = archive.done(archive.order(series=series))
    href = job["files"][0]["href"]
    archive.web.delete(f"/series/{series}").raise_for_status()
    give_up_at = time.monotonic() + GONE_SECONDS
    while (status := archive.web.get(href).status_code) == 200:
        assert time.monotonic() < give_up_at
        time.sleep(0.3)
    assert status == 404


def test_openapi_names_what_there_is(archive: ModelArchive) -> None:
    """The document is served, and every reference in it leads somewhere."""
    document = archive.web.get("/pacs/mesh/openapi.json").raise_for_status().json()
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known
    assert "/series/{series}/mesh.{format}" in document["paths"]


def references(node: object) -> Iterator[str]:
    """Yield all `$ref` of a document."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for one in node.values():
            yield from references(one)
    elif isinstance(node, list):
        for one in node:
            yield from references(one)
