"""The 3D pages without an archive: each state of a job in words, refusals, what is offered to whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.model_reports import BONE, report_of
from fixtures.pages import Pages, pages
from pacs.mesh import errors
from pacs.mesh.jobs.looks import SeriesLook
from pacs.mesh.jobs.orders import Order, OrderKind, SeriesNote
from pacs.mesh.jobs.series import SourceSeries
from pacs.mesh.jobs.shelf import ShelvedModel
from pacs.mesh.jobs.sources import Sources
from pacs.mesh.recipe import Coordinates, Format, Preset, Recipe
from pacs.mesh.report import ModelFile, Notice
from pacs.mesh.stages import Stage
from pacs.web.model_views import NOTICE_WORDS, PART_WORDS, REASON_WORDS, STAGE_WORDS, notice_words
from pacs.work import WorkQueue

SERIES = "aaaaaaaa-22222222-33333333-44444444-55555555"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Return the pages."""
    with pages(tmp_path) as made:
        yield made


def ordered(made: Pages, kind: OrderKind = OrderKind.MODEL, recipe: Recipe = BONE) -> tuple[WorkQueue, int]:
    """Put a job into the queue of models, which nobody works here, and return both."""
    [queue] = made.services.models.queues
    series = SeriesNote(
        orthanc_series_id=SERIES, orthanc_study_id="", study_instance_uid="1.2", series_instance_uid="1.2.3",
        modality="CT", number="2", description="Tórax",
    )  # fmt: skip
    order = Order(kind=kind, series=series, recipe=recipe, actor="person:local")
    return queue, queue.put(order.model_dump(mode="json"))


def page_of(made: Pages, job_id: int, language: str = "en") -> str:
    """Return the page of a job."""
    return made.client(language).get(f"/mesh/jobs/{job_id}").get_data(as_text=True)


def test_waiting_job_tells_how_many_are_before_it(made: Pages) -> None:
    """The page renews itself, and can cancel."""
    ordered(made)
    _, second = ordered(made)
    page = page_of(made, second)
    assert "1 model is made before it." in page
    assert f'hx-delete="/pacs/mesh/jobs/{second}"' in page
    assert f'hx-get="/pacs/mesh/jobs/{second}" hx-trigger="load' in page


def test_working_job_tells_stage_and_share(made: Pages) -> None:
    """In one's language."""
    queue, job_id = ordered(made)
    [claim] = queue.claim()
    claim.report_progress({"fraction": 0.42, "stage": "smoothing"})
    page = page_of(made, job_id, "es")
    assert "Suavizado… " in page
    assert "42" in page
    assert made.client().get(f"/mesh/jobs/{job_id}", headers={"Accept": "application/json"}).json["progress"] == 0.42


def test_failed_job_tells_the_reason_in_words(made: Pages) -> None:
    """What to do about it stands before the technical words; the page rests."""
    queue, job_id = ordered(made)
    [claim] = queue.claim()
    claim.report_progress({"code": "mesh-missing-slice"})
    claim.reject("Expected a slice at 12 mm.")
    page = page_of(made, job_id, "pt")
    assert "Falta um corte." in page
    assert "Expected a slice at 12 mm." in page
    assert "hx-trigger" not in page


def test_cancelled_job_says_so_and_leads_back(made: Pages) -> None:
    """DELETE answers with the job as it is now; a second one is refused."""
    _, job_id = ordered(made)
    client = made.client()
    answer = client.delete(f"/mesh/jobs/{job_id}", headers={"HX-Request": "true"})
    assert "It was cancelled." in answer.get_data(as_text=True)
    assert f"/pacs/mesh/{SERIES}" in answer.get_data(as_text=True)
    assert client.delete(f"/mesh/jobs/{job_id}").status_code == 409


def test_model_that_is_not_kept_any_more_can_be_made_again(made: Pages) -> None:
    """Done long ago, its files tidied away: 404 for the file, a word on the page."""
    queue, job_id = ordered(made)
    [claim] = queue.claim()
    claim.complete({"model": f"{SERIES}/{'0' * 64}"})
    assert "not kept any more" in page_of(made, job_id)
    assert made.client().get(f"/mesh/jobs/{job_id}/files/model.stl").status_code == 404
    assert made.client().post(f"/mesh/jobs/{job_id}/study", json={"formats": ["stl"]}).status_code == 404


def finished(made: Pages, monkeypatch: pytest.MonkeyPatch, recipe: Recipe = BONE) -> int:
    """Return the job of a model that is on the shelf as an STL."""
    queue, job_id = ordered(made, recipe=recipe)
    [claim] = queue.claim()
    claim.complete({"model": f"{SERIES}/{'0' * 64}"})
    stl = ModelFile(name="model.stl", format=Format.STL, media_type="model/stl", size_bytes=5, sha256="0" * 64)
    (made.services.storage_directory / "model.stl").write_bytes(b"solid")
    report = report_of(files=(stl,), coordinates=recipe.coordinates.value)
    monkeypatch.setattr(
        made.services.models, "shelved", lambda _job: ShelvedModel(made.services.storage_directory, report)
    )
    return job_id


@pytest.mark.parametrize(("coordinates", "status"), [(Coordinates.LPS, 202), (Coordinates.RAS, 400)])
def test_only_models_in_lps_are_saved_in_the_study(
    made: Pages, monkeypatch: pytest.MonkeyPatch, coordinates: Coordinates, status: int
) -> None:
    """DICOM knows LPS alone: a model in RAS is neither offered to be saved nor taken."""
    job_id = finished(made, monkeypatch, BONE.model_copy(update={"coordinates": coordinates}))
    assert ("Save in the study" in page_of(made, job_id)) == (status == 202)
    answer = made.client().post(f"/mesh/jobs/{job_id}/study", json={"formats": ["stl"]}, headers={"Accept": "*/*"})
    assert answer.status_code == status
    assert ("LPS" in answer.json.get("detail", "")) == (status == 400)


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (f"/mesh/{SERIES}/model.stl", 200),
        ("/mesh/1.2.3/model.stl", 200),
        (f"/mesh/{SERIES}/model.ply", 404),
        ("/mesh/1.2.4/model.stl", 404),
    ],
)
def test_simple_address_gives_what_the_job_has(
    made: Pages, monkeypatch: pytest.MonkeyPatch, address: str, status: int
) -> None:
    """A format that the job did not make, and a job of another series, are not found."""
    job_id = finished(made, monkeypatch)
    assert made.client().get(f"{address}?job={job_id}").status_code == status


def test_list_shows_models_and_where_their_study_went(made: Pages) -> None:
    """Models of studies that the index does not have say so; savings are no models of their own."""
    ordered(made)
    ordered(made, OrderKind.SAVE)
    page = made.client().get("/mesh").get_data(as_text=True)
    assert page.count('class="row-link"') == 1
    assert "Not in the archive any more" in page


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/mesh/not-there", {}),
        (f"/mesh/{SERIES}", {"parts": []}),
        (f"/mesh/{SERIES}", "bone"),
        (f"/mesh/{SERIES}", None),
    ],
)
def test_order_that_makes_no_sense_is_a_problem(made: Pages, path: str, body: object) -> None:
    """A JSON problem with the place of the mistake, before anything is asked of the archive."""
    answer = made.client().post(path, json=body, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")


def test_model_that_would_not_fit_is_refused_with_the_numbers(made: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is queued: how large the volume is, what its model needs, what there is."""
    look = SeriesLook(modality="CT", sub_volumes=(), regions=(), volume_bytes=2**40, shape=(2**20, 1024, 1024))
    source = SourceSeries(SERIES, "", "1.2", "1.2.3", "CT", "2", "", ())
    monkeypatch.setattr(made.services.models.lookout, "look", lambda *_: (Sources(source, source, ()), look))
    answer = made.client().post(f"/mesh/{SERIES}", json=BONE.model_dump(mode="json"), headers={"Accept": "*/*"})
    assert (answer.status_code, answer.json["type"]) == (413, "urn:pacs-cloud:problem:mesh-too-large")
    assert "The volume has 1048576 MiB and its model needs about 1677872 MiB" in answer.json["detail"]
    assert made.services.models.latest() == []


def test_refusal_tells_our_scripts_in_ones_language(made: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem for programs carries the words that the page shows."""

    def refuse(*_: object) -> None:
        raise errors.SingleImage("Expected slices, found one image.")

    monkeypatch.setattr(made.services.models, "order", refuse)
    answer = made.client("pt").post(f"/mesh/{SERIES}", json=BONE.model_dump(mode="json"), headers={"Accept": "*/*"})
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert answer.json["words"] == "Uma imagem não é um volume. Escolha uma série com cortes."


@pytest.mark.parametrize("code", sorted(NOTICE_WORDS))
def test_each_notice_has_its_words(made: Pages, code: str) -> None:
    """With its figures filled in, none left over."""
    names = (
        "gap_mm",
        "degrees",
        "count",
        "kernel",
        "off_mm",
        "part",
        "edges",
        "p01_mm",
        "triangles",
        "wanted",
        "max_mm",
        "wanted_mm",
        "size_mm",
        "volume_mm3",
        "mask_mm3",
    )
    kind, _, kernel = code.partition("_") if code.startswith("kernel") else (code, "", "")
    values: dict[str, float | str] = dict.fromkeys(names, 1.25) | ({"is": kernel} if kernel else {})
    with made.app.test_request_context("/"):
        told = notice_words(Notice(code=kind, values=values))
    assert "%(" not in told
    assert not told.startswith(kind)


def test_notice_that_is_not_known_is_shown_as_it_is(made: Pages) -> None:
    """A newer pipeline may say more than the page has words for."""
    with made.app.test_request_context("/"):
        assert notice_words(Notice(code="novel", values={"edges": 3})).startswith("novel")


def test_words_fit_what_the_pipeline_says() -> None:
    """Each stage, fault and preset has its words."""
    codes = {one.code for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.MeshError)}
    assert set(Stage) <= set(STAGE_WORDS)
    assert codes - {"mesh", "mesh-cancelled"} <= set(REASON_WORDS)
    assert set(Preset) <= set(PART_WORDS)
    assert report_of().parts[0].name in PART_WORDS
