"""The AEs, System and Upload pages on an archive in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures.pages import Pages, pages
from pacs.errors import ArchiveError

CT1 = {"AET": "CT1_AE", "Host": "192.168.10.21", "Port": 104}
FORM = {"name": "US2", "ae_title": "US2_AE", "host": "us2.example", "port": "11112", "timeout_seconds": "0"}
JOB = "b53485d8-ae3c-4a66-83ae-f39d9d0b70f5"
STUDY = "11111111-22222222-33333333-44444444-55555555"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Return the pages with one node."""
    with pages(tmp_path) as made:
        made.archive.answers |= {
            "/modalities?expand": {"CT1": CT1},
            "/system": {"Version": "1.12.7", "DicomAet": "PACS", "DicomPort": 4242, "DatabaseBackendPlugin": None},
            "/statistics": {
                "TotalDiskSize": "5000000",
                "CountPatients": 1,
                "CountStudies": 2,
                "CountSeries": 3,
                "CountInstances": 1234567,
            },
            "/plugins": ["explorer.js", "dicom-web", "gone"],
            "/plugins/dicom-web": {"ID": "dicom-web", "Version": "1.20"},
            "/jobs?expand": [],
        }
        yield made


def test_list_tells_how_nodes_reach_this_pacs(made: Pages) -> None:
    """Whoever sets up a modality finds its data and ours on one page."""
    page = made.client().get("/aes").get_data(as_text=True)
    for text in ("CT1_AE", "192.168.10.21:104", "They reach it as PACS, port 4242.", "Everything"):
        assert text in page


def test_list_without_nodes_tells_what_to_do(made: Pages) -> None:
    """An empty list leads to the form."""
    made.archive.answers["/modalities?expand"] = {}
    page = made.client().get("/aes").get_data(as_text=True)
    assert "No AE yet" in page
    assert 'href="/pacs/aes/new"' in page


def test_node_is_added_with_its_permissions(made: Pages) -> None:
    """The form's values reach Orthanc under the node's name."""
    answer = made.client().post("/aes/new", data={**FORM, "permissions": ["AllowEcho", "AllowStore"]})
    assert (answer.status_code, answer.location) == (303, "/pacs/aes?saved=US2")
    method, path, body = made.archive.written[-1]
    assert (method, path) == ("PUT", "/modalities/US2")
    assert {key: body[key] for key in ("AET", "Host", "Port", "AllowEcho", "AllowStore", "AllowMove")} == {
        "AET": "US2_AE",
        "Host": "us2.example",
        "Port": 11112,
        "AllowEcho": True,
        "AllowStore": True,
        "AllowMove": False,
    }


@pytest.mark.parametrize(
    ("changed", "words"), [({"port": "99999"}, "1 to 65535"), ({"name": "ct1"}, "one of this name")]
)
def test_node_with_a_mistake_is_not_written(made: Pages, changed: dict[str, str], words: str) -> None:
    """The form comes back with what was entered and the reason at its field."""
    answer = made.client().post("/aes/new", data=FORM | changed)
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert words in page
    assert 'aria-invalid="true"' in page
    assert 'value="us2.example"' in page
    assert not made.archive.written


def test_node_keeps_its_name_when_changed(made: Pages) -> None:
    """Other things refer to the name; the form can't change it."""
    made.client().post("/aes/CT1/edit", data=FORM | {"name": "OTHER"})
    assert made.archive.written[-1][:2] == ("PUT", "/modalities/CT1")


def test_node_is_removed_only_after_a_question(made: Pages) -> None:
    """GET asks, POST removes."""
    client = made.client()
    assert "Remove CT1?" in client.get("/aes/CT1/remove").get_data(as_text=True)
    assert not made.archive.written
    assert client.post("/aes/CT1/remove").status_code == 303
    assert made.archive.written == [("DELETE", "/modalities/CT1", None)]


@pytest.mark.parametrize("path", ["/aes/NONE/edit", "/aes/NONE/remove", "/aes/..%2fjobs/remove"])
def test_node_that_is_not_there_is_not_found(made: Pages, path: str) -> None:
    """Names reach Orthanc only when they are of the list."""
    assert made.client().post(path, data=FORM).status_code == 404
    assert not made.archive.written


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ({}, "CT1 answers."),
        (ArchiveError("TCP Initialization Error: Connection refused"), "nothing listens on that port"),
        (ArchiveError("Attempt to connect to unknown host: ct1"), "host name is not known"),
    ],
)
def test_echo_tells_its_outcome_in_words(made: Pages, outcome: Any, words: str) -> None:
    """With scripts in the row, without them on the page."""
    made.archive.outcomes["/modalities/CT1/echo"] = outcome
    client = made.client()
    assert words in client.post("/aes/CT1/echo", headers={"HX-Request": "true"}).get_data(as_text=True)
    whole = client.post("/aes/CT1/echo").get_data(as_text=True)
    assert words in whole
    assert "<html" in whole


def test_system_shows_versions_counts_disk_queues_and_workers(made: Pages) -> None:
    """The state of the whole on one page, in the language of the reader."""
    page = made.client("es").get("/system").get_data(as_text=True)
    for text in (
        "1.12.7",
        "dicom-web",
        "1.20",
        "1.2.3",
        "SQLite",
        "1.234.567",
        "5 MB",
        "outbox",
        "Nuestra base de datos",
    ):
        assert text in page
    assert 'hx-trigger="every 5s"' in page


def test_system_renews_only_what_changes(made: Pages) -> None:
    """Htmx gets the state without the page around it."""
    part = made.client().get("/system", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert "<html" not in part
    assert "1,234,567" in part


@pytest.mark.parametrize(
    ("state", "action"), [("Running", "cancel"), ("Pending", "cancel"), ("Failure", "resubmit"), ("Success", "")]
)
def test_jobs_offer_what_makes_sense(made: Pages, state: str, action: str) -> None:
    """A job under way can be cancelled, a failed one repeated, a good one left alone."""
    entry = {"ID": JOB, "Type": "DicomModalityStore", "State": state, "Progress": 30, "Content": {"RemoteAet": "WS1"}}
    made.archive.answers["/jobs?expand"] = [entry]
    made.archive.outcomes |= {f"/jobs/{JOB}/{one}": {} for one in ("cancel", "resubmit")}
    client = made.client()
    page = client.get("/system").get_data(as_text=True)
    offered = [one for one in ("cancel", "resubmit") if f"/pacs/system/jobs/{JOB}/{one}" in page]
    assert offered == ([action] if action else [])
    if action:
        assert client.post(f"/system/jobs/{JOB}/{action}").status_code == 303
        assert made.archive.written[-1][1] == f"/jobs/{JOB}/{action}"


@pytest.mark.parametrize("path", ["/system/jobs/..%2f..%2ftools/cancel", f"/system/jobs/{JOB}/delete"])
def test_jobs_take_no_other_path(made: Pages, path: str) -> None:
    """What stands in the address can't reach another part of Orthanc."""
    assert made.client().post(path).status_code == 404
    assert not made.archive.written


def test_upload_tells_the_studies_that_arrived(made: Pages) -> None:
    """The page asks by Orthanc's identifiers; what is gone again is left out."""
    made.archive.answers[f"/studies/{STUDY}"] = {
        "MainDicomTags": {"StudyInstanceUID": "1.2.3", "StudyDate": "20260310", "StudyDescription": "TC"},
        "PatientMainDicomTags": {"PatientName": "PÉREZ^Ana", "PatientID": "7"},
    }
    answer = made.client("es").get(f"/upload/studies?ids={STUDY},{STUDY[:-1]}0").get_json()
    assert answer == [
        {
            "orthancStudyId": STUDY,
            "patient": "PÉREZ, Ana",
            "patientId": "7",
            "date": "10/03/2026",
            "description": "TC",
            "address": f"/pacs/studies/1.2.3?id={STUDY}",
        }
    ]


@pytest.mark.parametrize("ids", ["../system", "x", ",".join(["0"] * 101)])
def test_upload_asks_for_nothing_else(made: Pages, ids: str) -> None:
    """Only identifiers, and not too many at once."""
    assert made.client().get(f"/upload/studies?ids={ids}", headers={"Accept": "application/json"}).status_code == 400
