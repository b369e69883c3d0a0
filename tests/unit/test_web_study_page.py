"""The study page, its thumbnails, downloads and sending, on an archive in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fixtures.pages import Pages, pages
from pacs.errors import ArchiveError
from pacs.web.study_details import load_study, weasis_link
from pacs.web.thumbnails import SeriesKind, picture_source

STUDY = "11111111-22222222-33333333-44444444-55555555"
TWIN = "99999999-22222222-33333333-44444444-55555555"
SERIES = "aaaaaaaa-22222222-33333333-44444444-55555555"
JOB = "b53485d8-ae3c-4a66-83ae-f39d9d0b70f5"
UID = "1.2.3.4"
MODALITY = {"AET": "WS1", "Host": "10.0.0.9", "Port": 104}


def series(number: str = "1", modality: str = "CT", instances: int = 3, **tags: str) -> dict[str, Any]:
    """Return a series as Orthanc answers."""
    return {
        "ID": SERIES,
        "Instances": [f"{place}" * 8 for place in range(instances)],
        "MainDicomTags": {"SeriesInstanceUID": f"{UID}.{number}", "SeriesNumber": number, "Modality": modality, **tags},
    }


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Return the pages with one study."""
    with pages(tmp_path) as made:
        answers, outcomes = made.archive.answers, made.archive.outcomes
        answers[f"/studies/{STUDY}"] = {
            "ID": STUDY,
            "LastUpdate": "20260310T101500",
            "MainDicomTags": {"StudyInstanceUID": UID, "StudyDate": "20260310", "StudyTime": "101500"},
            "PatientMainDicomTags": {"PatientName": "PÉREZ^Ana", "PatientID": "7", "PatientBirthDate": "19800101"},
        }
        answers[f"/studies/{STUDY}/series?expand"] = [
            series("12", "SR"),
            series("2", "CT", SeriesDescription="Axial"),
            series("", "PR"),
        ]
        answers[f"/studies/{STUDY}/statistics"] = {"DiskSize": "1500000"}
        answers["/modalities?expand"] = {"ws1": MODALITY}
        outcomes[f"/tools/lookup {UID}"] = [{"ID": STUDY, "Type": "Study"}]
        yield made


def job(state: str, **values: Any) -> dict[str, Any]:
    """Return a C-STORE job as Orthanc answers."""
    content = {"RemoteAet": "WS1", "InstancesCount": 3, "FailedInstancesCount": 0}
    return {"ID": JOB, "Type": "DicomModalityStore", "State": state, "Progress": 40, "Content": content, **values}


def test_study_page_shows_patient_series_and_ways_to_open(made: Pages) -> None:
    """Series stand by number, those without one last; each leads to OHIF and to Orthanc's viewer."""
    page = made.client("es").get(f"/studies/{UID}").get_data(as_text=True)
    assert "PÉREZ</span>, Ana" in page
    assert "46 años" in page
    assert "1,5 MB" in page
    assert [page.index(f"initialSeriesInstanceUID={UID}.{number}") for number in ("2", "12")] == sorted(
        page.index(f"initialSeriesInstanceUID={UID}.{number}") for number in ("2", "12")
    )
    assert f"/ohif/viewer?StudyInstanceUIDs={UID}" in page
    assert f"/web-viewer/app/viewer.html?series={SERIES}" in page
    assert f'src="/pacs/series/{SERIES}/thumbnail"' in page


def test_weasis_link_holds_the_command_that_weasis_reads() -> None:
    """The part after the scheme decodes to $dicom:rs with the address and the study."""
    link = weasis_link("https://pacs.example/dicom-web", UID)
    scheme, _, command = link.partition("://")
    assert scheme == "weasis"
    assert unquote(command) == f'$dicom:rs --url "https://pacs.example/dicom-web" -r "studyUID={UID}"'
    assert not set(command) & set('$" :/')


@pytest.mark.parametrize("path", ["9.9.9", "..%2f..%2fsystem", "abc", "1.2.3.4?id=zz"])
def test_study_that_is_not_there_is_not_found(made: Pages, path: str) -> None:
    """Unknown and impossible identifiers get the same calm page."""
    assert made.client().get(f"/studies/{path}").status_code == 404


def test_study_with_a_twin_warns(made: Pages) -> None:
    """Two patients with one StudyInstanceUID: the page says so and leads to the other."""
    made.archive.outcomes[f"/tools/lookup {UID}"] = [{"ID": STUDY, "Type": "Study"}, {"ID": TWIN, "Type": "Study"}]
    page = made.client().get(f"/studies/{UID}?id={STUDY}").get_data(as_text=True)
    assert "Another patient has a study with the same identifier" in page
    assert f"?id={TWIN}" in page


@pytest.mark.parametrize(("form", "suffix"), [("archive", ""), ("media", "_media")])
def test_download_has_a_file_name_without_the_patient(made: Pages, form: str, suffix: str) -> None:
    """Orthanc streams the ZIP under a name of modalities, date and a part of its own identifier."""
    answer = made.client().get(f"/studies/{UID}/{form}")
    assert answer.status_code == 302
    name = f"CT-PR-SR_2026-03-10_11111111{suffix}.zip"
    assert answer.location == f"/studies/{STUDY}/{form}?filename={name}"


def test_sending_starts_a_job_and_shows_its_progress(made: Pages) -> None:
    """The button starts an asynchronous C-STORE job; the page then polls it."""
    made.archive.outcomes["/modalities/ws1/store"] = {"ID": JOB}
    made.archive.answers[f"/jobs/{JOB}"] = job("Running")
    client = made.client()
    part = client.post(f"/studies/{UID}/send", data={"modality": "ws1"}, headers={"HX-Request": "true"})
    assert made.archive.written[-1] == (
        "POST",
        "/modalities/ws1/store",
        {"Resources": [STUDY], "Synchronous": False, "Permissive": False},
    )
    assert f'hx-get="/pacs/sending/{JOB}' in part.get_data(as_text=True)
    assert "40%" in part.get_data(as_text=True)
    whole = client.post(f"/studies/{UID}/send", data={"modality": "ws1"})
    assert (whole.status_code, f"job={JOB}" in whole.location) == (303, True)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (job("Success"), "3 images were sent to WS1."),
        (job("Failure", ErrorCode=9, ErrorDescription="network", ErrorDetails="Connection refused"), "nothing listens"),
        (job("Failure", ErrorCode=9, ErrorDescription="network", ErrorDetails="unknown host: x"), "not known"),
        (
            job("Failure", ErrorCode=9, ErrorDescription="network", ErrorDetails="DUL Association Rejected"),
            "refused the",
        ),
        (job("Pending"), "Sending to WS1"),
    ],
)
def test_sending_ends_in_words(made: Pages, answer: dict[str, Any], words: str) -> None:
    """Each outcome says what happened and, when it failed, what to do."""
    made.archive.answers[f"/jobs/{JOB}"] = answer
    page = made.client().get(f"/sending/{JOB}").get_data(as_text=True)
    assert words in page
    assert ("hx-get" in page) is (answer["State"] in {"Pending", "Running"})


def test_sending_that_is_forgotten_is_told(made: Pages) -> None:
    """Orthanc forgets old jobs; the page says so and stops asking."""
    assert "no longer knows" in made.client().get(f"/sending/{JOB}").get_data(as_text=True)


def test_sending_to_an_unknown_node_is_refused(made: Pages) -> None:
    """Only nodes of the list are sent to."""
    assert made.client().post(f"/studies/{UID}/send", data={"modality": "../x"}).status_code == 400
    assert not [path for _, path, _ in made.archive.written if "store" in path]


def test_thumbnail_is_of_the_middle_image(made: Pages) -> None:
    """Orthanc's order of slices decides; without one, the order of the list."""
    answers = made.archive.answers
    answers[f"/series/{SERIES}"] = series(instances=3)
    answers[f"/series/{SERIES}/ordered-slices"] = {"SlicesShort": [["c", 0, 1], ["m", 0, 1], ["a", 0, 1]]}
    for instance in ("m", "1" * 8):
        answers[f"/instances/{instance}/metadata/SopClassUid"] = b"1.2.840.10008.5.1.4.1.1.2"
        answers[f"/instances/{instance}/metadata/TransferSyntax"] = b"1.2.840.10008.1.2.1"
        answers[f"/instances/{instance}/rendered?width=256&height=256"] = b"\x89PNG " + instance.encode()
    assert picture_source(made.archive, SERIES) == "m"
    assert made.client().get(f"/series/{SERIES}/thumbnail").data == b"\x89PNG m"
    del answers[f"/series/{SERIES}/ordered-slices"]
    assert picture_source(made.archive, SERIES) == "1" * 8


def test_thumbnail_is_kept_by_the_browser_and_asked_for_again_cheaply(made: Pages) -> None:
    """Privately cached for a day, and 304 without being drawn when nothing changed."""
    answers = made.archive.answers
    answers[f"/series/{SERIES}"] = series(instances=1)
    answers["/instances/00000000/metadata/SopClassUid"] = b"1.2.840.10008.5.1.4.1.1.2"
    answers["/instances/00000000/metadata/TransferSyntax"] = b"1.2.840.10008.1.2.1"
    answers["/instances/00000000/rendered?width=256&height=256"] = b"\x89PNG"
    client = made.client()
    first = client.get(f"/series/{SERIES}/thumbnail")
    assert (first.status_code, first.mimetype) == (200, "image/png")
    assert first.headers["Cache-Control"] == "private, max-age=86400"
    del answers["/instances/00000000/rendered?width=256&height=256"]
    again = client.get(f"/series/{SERIES}/thumbnail", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("modality", "sop_class", "syntax", "kind"),
    [
        ("SR", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.1.2.1", SeriesKind.REPORT),
        ("SEG", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.1.2.1", SeriesKind.SEGMENTATION),
        ("OT", "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.1.2.1", SeriesKind.DOCUMENT),
        ("ES", "1.2.840.10008.5.1.4.1.1.77.1.1.1", "1.2.840.10008.1.2.4.102", SeriesKind.VIDEO),
        ("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3", "1.2.840.10008.1.2", SeriesKind.STRUCTURES),
        ("M3D", "1.2.840.10008.5.1.4.1.1.104.3", "1.2.840.10008.1.2.1", SeriesKind.MODEL),
        ("CT", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.93", SeriesKind.OTHER),
    ],
)
def test_series_without_a_picture_has_the_symbol_of_its_kind(
    made: Pages, modality: str, sop_class: str, syntax: str, kind: SeriesKind
) -> None:
    """Told by modality, SOP class or transfer syntax; also when Orthanc can't draw it."""
    answers = made.archive.answers
    answers[f"/series/{SERIES}"] = series(modality=modality, instances=1)
    answers["/instances/00000000/metadata/SopClassUid"] = sop_class.encode()
    answers["/instances/00000000/metadata/TransferSyntax"] = syntax.encode()
    answers["/instances/00000000/rendered?width=256&height=256"] = ArchiveError("Unsupported media type")
    client = made.client()
    symbol = client.get(client.get(f"/series/{SERIES}/thumbnail").location.removeprefix("/pacs"))
    assert (symbol.status_code, symbol.mimetype) == (200, "image/svg+xml")
    assert b'<path d="M' in symbol.data
    assert client.get(f"/series/{SERIES}/thumbnail").location.endswith(f"/{kind}.svg")


def test_every_kind_has_a_symbol(made: Pages) -> None:
    """No kind is drawn empty."""
    for kind in SeriesKind:
        assert b'd="M' in made.client().get(f"/kinds/{kind}.svg").data
    assert made.client().get("/kinds/none.svg").status_code == 404


def test_file_name_of_a_study_without_date_or_modality(made: Pages) -> None:
    """The name stays a name."""
    made.archive.answers[f"/studies/{STUDY}"]["MainDicomTags"]["StudyDate"] = "../../etc"
    made.archive.answers[f"/studies/{STUDY}/series?expand"] = [series(modality="../x")]
    assert load_study(made.archive, UID).file_stem == "study_11111111"
