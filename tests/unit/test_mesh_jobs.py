"""Parts of 3D jobs without an archive: memory shared out, the shelf, recipes in addresses, names of files."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fakes.archive import MemoryArchive
from fixtures.model_reports import BONE, report_of
from fixtures.process_pools import becomes_true
from pacs.errors import InvalidInput, NotFound
from pacs.mesh.errors import MeshCancelled, MeshError, MeshTooLarge
from pacs.mesh.jobs.memory import MemoryBudget
from pacs.mesh.jobs.orders import JobState, ModelJob, Order, OrderKind, SeriesNote
from pacs.mesh.jobs.packing import downloads, pack
from pacs.mesh.jobs.series import find_series
from pacs.mesh.jobs.shelf import Shelf, shelf_key
from pacs.mesh.recipe import Format
from pacs.mesh.report import ModelFile
from pacs.mesh.settings import MeshSettings
from pacs.processes import Cancellation
from pacs.processes.scratch import Scratch
from pacs.studies.instance_files import InstanceFiles
from pacs.web.model_orders import read_formats, read_recipe, recipe_of_address
from pacs.web.model_views import file_name

SERIES = "aaaaaaaa-22222222-33333333-44444444-55555555"
STUDY = "11111111-22222222-33333333-44444444-55555555"
UID = "1.2.3.4"
DAY_SECONDS = 86_400
WAIT_SECONDS = 10.0


def model_file(name: str, content: bytes, form: Format = Format.STL) -> ModelFile:
    """Return a file as reports list it."""
    digest = hashlib.sha256(content).hexdigest()
    return ModelFile(name=name, format=form, media_type="model/x", size_bytes=len(content), sha256=digest)


# --- memory ---


def test_budget_refuses_what_never_fits_with_the_numbers() -> None:
    """Volume, need and bound are told, and what to do."""
    budget = MemoryBudget(2**30, 2)
    budget.check(2**30, 2**29)
    with pytest.raises(MeshTooLarge, match=r"512 MiB and its model needs about 1025 MiB.*may take 1024 MiB"):
        budget.check(2**30 + 2**20, 2**29)


def test_budget_gives_each_worker_its_share_and_large_jobs_more() -> None:
    """Small jobs run side by side; together they never have more than there is."""
    budget = MemoryBudget(1000, 4)
    with ExitStack() as stack:
        granted = [stack.enter_context(budget.reserved(needed, Cancellation())) for needed in (1, 250, 500)]
        assert granted == [250, 250, 500]
        assert budget.reserved_bytes == 1000
    assert budget.reserved_bytes == 0


def test_large_job_waits_and_is_not_overtaken() -> None:
    """A job for all the memory comes when its turn is, though smaller ones after it would fit before."""
    budget, order = MemoryBudget(1000, 2), []

    def run(name: str, needed: int) -> None:
        with budget.reserved(needed, Cancellation()):
            order.append(name)

    with budget.reserved(500, Cancellation()):
        threads = [threading.Thread(target=run, args=("large", 1000)), threading.Thread(target=run, args=("small", 1))]
        for number, thread in enumerate(threads, 1):
            thread.start()
            assert becomes_true(lambda: len(budget._turns) == number, 40)  # noqa: B023
        assert order == []
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert order == ["large", "small"]


def test_waiting_for_memory_ends_when_cancelled() -> None:
    """Nobody waits for what is not wanted any more, and nobody waits behind it."""
    budget, cancellation = MemoryBudget(1000, 1), Cancellation()
    with budget.reserved(1000, Cancellation()):
        timer = threading.Timer(0.1, cancellation.cancel)
        timer.start()
        with pytest.raises(MeshCancelled), budget.reserved(1, cancellation):
            pass
    with budget.reserved(1000, Cancellation()):
        assert budget.reserved_bytes == 1000


def test_settings_follow_the_machine() -> None:
    """One worker a core and a third of the memory, unless said otherwise."""
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert MeshSettings().workers == os.process_cpu_count()
    assert MeshSettings().budget_bytes == max(machine_bytes // 3, 2**30)
    chosen = MeshSettings.model_validate({"Processes": 3, "MemoryBytes": 2**29})
    assert (chosen.workers, chosen.budget_bytes) == (3, 2**29)


# --- the shelf ---


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """Return an empty shelf."""
    made = Shelf(tmp_path / "models")
    yield made
    made.close()


def put(shelf: Shelf, content: bytes = b"solid", digest: str = "content") -> str:
    """Put a model on the shelf and return its key."""
    key = shelf_key(SERIES, digest, BONE)
    with shelf.place() as place:
        (place / "model.stl").write_bytes(content)
        shelf.put(key, place, report_of(files=(model_file("model.stl", content),)))
    return key


def test_shelf_gives_back_what_was_put(shelf: Shelf) -> None:
    """Folder and report; the same key put again keeps the first."""
    key = put(shelf)
    put(shelf)
    found = shelf.find(key)
    assert found is not None
    assert (found.folder / "model.stl").read_bytes() == b"solid"
    assert found.report.triangles == 12
    assert shelf.find(shelf_key(SERIES, "other content", BONE)) is None


@pytest.mark.parametrize("damage", ["shorter", "missing", "report"])
def test_model_that_is_not_whole_is_not_given(shelf: Shelf, damage: str) -> None:
    """After a full disk or a power cut it is made again, not handed out."""
    key = put(shelf)
    folder = shelf.find(key).folder  # type: ignore[union-attr]
    if damage == "shorter":
        (folder / "model.stl").write_bytes(b"s")
    elif damage == "missing":
        (folder / "model.stl").unlink()
    else:
        (folder / "report.json").write_text("{")
    assert shelf.find(key) is None


def test_shelf_forgets_what_is_old_then_what_is_too_much(shelf: Shelf) -> None:
    """Unused for longer than allowed goes first; then the least recently used until the rest fits."""
    keys = [put(shelf, b"x" * 2000, f"content {number}") for number in range(3)]
    folders = [shelf.find(key).folder for key in keys]  # type: ignore[union-attr]
    for number, folder in enumerate(folders):
        os.utime(folder, (0, time.time() - DAY_SECONDS * (40, 2, 1)[number]))
    size_bytes = shelf.size_bytes() // 3
    assert shelf.tidy(keep_days=30, keep_bytes=2 * size_bytes) == 1
    assert shelf.tidy(keep_days=30, keep_bytes=size_bytes) == 1
    assert [folder.exists() for folder in folders] == [False, False, True]
    shelf.forget(SERIES)
    assert shelf.series() == []


@pytest.mark.parametrize("key", ["../../etc", f"{SERIES}/..", "", f"{SERIES}/" + "g" * 64])
def test_shelf_takes_no_other_paths(shelf: Shelf, key: str) -> None:
    """A key is a series and a hash, nothing else."""
    with pytest.raises(MeshError):
        shelf.find(key)


def test_formats_of_several_files_are_one_zip_to_take_away(tmp_path: Path) -> None:
    """OBJ and MTL go together; packed twice, the same bytes."""
    for name in ("model.stl", "model.obj", "model.mtl"):
        (tmp_path / name).write_text(name)
    files = tuple(
        model_file(name, name.encode(), form)
        for name, form in (("model.stl", Format.STL), ("model.obj", Format.OBJ), ("model.mtl", Format.OBJ))
    )
    packed, again = (pack(report_of(files=files), tmp_path) for _ in range(2))
    assert packed == again
    assert [one.name for one in downloads(packed)] == ["model.stl", "model-obj.zip"]
    with zipfile.ZipFile(tmp_path / "model-obj.zip") as archive:
        assert archive.read("model.mtl") == b"model.mtl"


# --- sources ---


@pytest.fixture
def archive() -> MemoryArchive:
    """Return an archive with one series of two instances."""
    made = MemoryArchive()
    made.answers |= {
        f"/series/{SERIES}": {
            "ID": SERIES,
            "ParentStudy": STUDY,
            "MainDicomTags": {"SeriesInstanceUID": UID, "Modality": "CT"},
        },
        f"/studies/{STUDY}": {"ID": STUDY, "MainDicomTags": {"StudyInstanceUID": "1.2.3"}},
        f"/series/{SERIES}/instances?expand": [
            {
                "ID": f"{number}",
                "FileUuid": f"abcd{number}",
                "FileSize": 4,
                "MainDicomTags": {"SOPInstanceUID": f"1.{number}"},
            }
            for number in (2, 1)
        ],
    }
    made.outcomes[f"/tools/lookup {UID}"] = [{"ID": SERIES, "Type": "Series"}, {"ID": STUDY, "Type": "Study"}]
    return made


def test_series_is_found_by_either_identifier(archive: MemoryArchive) -> None:
    """Orthanc's and DICOM's lead to the same; its digest follows its instances, not their order."""
    found = find_series(archive, SERIES)
    assert find_series(archive, UID) == found
    assert [one.sop_instance_uid for one in found.instances] == ["1.1", "1.2"]
    assert replace(found, instances=found.instances[:1]).digest != found.digest
    assert replace(found, description="other").digest == found.digest


@pytest.mark.parametrize("identifier", ["9.9.9", "../system", "abc", ""])
def test_series_that_is_not_there_is_not_found(archive: MemoryArchive, identifier: str) -> None:
    """Unknown or impossible, it becomes no path of Orthanc's."""
    archive.outcomes["/tools/lookup 9.9.9"] = []
    with pytest.raises(NotFound):
        find_series(archive, identifier)


def test_files_are_those_of_the_storage_and_copies_where_it_has_others(archive: MemoryArchive, tmp_path: Path) -> None:
    """A path where the file is as large as it should be; else what Orthanc gives, removed afterwards."""
    storage = tmp_path / "storage"
    (storage / "ab" / "cd").mkdir(parents=True)
    (storage / "ab" / "cd" / "abcd1").write_bytes(b"DICM")
    (storage / "ab" / "cd" / "abcd2").write_bytes(b"compressed")
    archive.answers["/instances/2/file"] = b"dicm"
    scratch = Scratch(tmp_path / "scratch")
    with InstanceFiles(archive, storage, scratch).opened(find_series(archive, SERIES).instances) as paths:
        assert [Path(path).read_bytes() for path in paths] == [b"DICM", b"dicm"]
        assert paths[0].startswith(str(storage))
    assert not Path(paths[1]).exists()
    scratch.close()


# --- what requests say ---


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"preset": "bone"}, {"kind": "preset", "preset": "bone"}),
        ({"low": "300"}, {"kind": "window", "low": 300.0, "high": None}),
        ({"low": "-20.5", "high": "80"}, {"kind": "window", "low": -20.5, "high": 80.0}),
        ({"otsu": "1"}, {"kind": "otsu"}),
        ({"segment": "2"}, {"kind": "segment", "number": 2, "sop_instance_uid": None}),
        ({"roi": "3"}, {"kind": "roi", "number": 3, "sop_instance_uid": None}),
    ],
)
def test_address_says_what_to_mesh(words: dict[str, str], expected: dict[str, Any]) -> None:
    """Each word of the query is its selection; the file for the page is made beside."""
    recipe = recipe_of_address(words, "stl")
    assert recipe.parts[0].select.model_dump() == expected
    assert recipe.formats == (Format.STL, Format.GLB)


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ({"share": "0.9"}, "reduce", {"share": 0.9}),
        ({"deviation_mm": "0.2"}, "reduce", {"deviation_mm": 0.2}),
        ({"triangles": "50000"}, "reduce", {"triangles": 50000}),
        ({"keep": "largest"}, "keep", "largest"),
        ({"min_volume_mm3": "20"}, "min_volume_mm3", 20.0),
        ({"close_holes_mm": "2"}, "close_holes_mm", 2.0),
        ({"smooth": "0"}, "smooth_iterations", 0),
        ({"coordinates": "RAS"}, "coordinates", "RAS"),
        ({"sub_volume": "2"}, "sub_volume", "2"),
    ],
)
def test_address_says_how(words: dict[str, str], field: str, value: object) -> None:
    """The choices of a recipe have their words."""
    assert recipe_of_address({"preset": "bone", **words}, "stl").model_dump(mode="json")[field] == value


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"preset": "gold"},
        {"low": "x"},
        {"low": "5", "high": "4"},
        {"preset": "bone", "share": "1", "triangles": "9"},
        {"preset": "bone", "colour": "red"},
        {"preset": "bone", "share": "nan"},
        {"segment": "-1"},
    ],
)
def test_address_that_makes_no_sense_is_refused(words: dict[str, str]) -> None:
    """Words that are none, values out of range, contradictions."""
    with pytest.raises(InvalidInput):
        recipe_of_address(words, "stl")


@pytest.mark.parametrize("content", [{}, {"parts": []}, {"parts": [{"select": {"kind": "magic"}}]}, [], "bone", None])
def test_recipe_that_is_none_is_refused_with_its_place(content: object) -> None:
    """The problem says where."""
    with pytest.raises(InvalidInput, match="recipe"):
        read_recipe(content)


@pytest.mark.parametrize("content", [[], ["ply"], ["gold"], "stl", None])
def test_formats_that_can_not_be_saved_are_refused(content: object) -> None:
    """DICOM has places for STL and OBJ."""
    with pytest.raises(InvalidInput):
        read_formats(content, frozenset({Format.STL, Format.OBJ}))


@pytest.mark.parametrize(
    ("part", "file", "expected"),
    [
        ("bone", "model.stl", "bone_CT_01234567.stl"),
        ("hueso/../ñ", "model-obj.zip", "hueso_obj_CT_01234567.zip"),
        ("…", "model.3mf", "CT_01234567.3mf"),
    ],
)
def test_file_names_are_safe(part: str, file: str, expected: str) -> None:
    """Letters, digits and hyphens, whatever a part was called."""
    recipe = BONE.model_copy(update={"parts": (BONE.parts[0].model_copy(update={"name": part}),)})
    series = SeriesNote(
        orthanc_series_id=SERIES, orthanc_study_id=STUDY, study_instance_uid="1", series_instance_uid="2",
        modality="CT", number="1", description="MODELO^Ana",
    )  # fmt: skip
    job = ModelJob(
        job_id=1, order=Order(kind=OrderKind.MODEL, series=series, recipe=recipe, actor="person:x"),
        state=JobState.DONE, stage="", fraction=1.0, attempts=1, error="", error_code="", model=f"{SERIES}/01234567",
        cached=False, saved=(), ordered_at=datetime.now(UTC), started_at=None, finished_at=None,
    )  # fmt: skip
    assert file_name(job, model_file(file, b"")) == expected
