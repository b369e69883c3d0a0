"""The pages on the real archive, through NGINX, as programs and browsers without scripts see them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.running_pacs import RunningPacs

WAIT_SECONDS = 30.0
HTML = {"Accept": "text/html", "Accept-Language": "en"}


@pytest.fixture
def client(pacs: RunningPacs) -> httpx.Client:
    """Return a client that asks as a browser does."""
    return httpx.Client(base_url=pacs.url, headers=HTML, timeout=30)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.2)


def test_front_door_leads_to_the_studies(client: httpx.Client) -> None:
    """The bare address ends at the list."""
    answer = client.get("/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/pacs/studies")


def test_health_and_metrics_answer_machines(client: httpx.Client) -> None:
    """Both parts are well, and Orthanc's own figures stand among ours."""
    assert client.get("/pacs/health").json() == {"status": "ok", "database": "ok", "archive": "ok"}
    text = client.get("/pacs/metrics").text
    assert "pacs_orthanc_metrics_up 1.0" in text
    assert "pacs_http_requests_total" in text


def test_pages_have_one_policy_and_it_is_strict(client: httpx.Client) -> None:
    """NGINX adds no second content security policy, and takes none away."""
    policies = client.get("/pacs/studies").headers.get_list("content-security-policy")
    assert len(policies) == 1
    assert "script-src 'self'" in policies[0]
    assert "unsafe" not in policies[0]


def test_every_page_and_what_it_names_is_there(client: httpx.Client) -> None:
    """Scripts, styles, icons and libraries of all pages answer, and may be kept for ever."""
    named: set[str] = set()
    for path in ("/pacs/studies", "/pacs/upload", "/pacs/aes", "/pacs/aes/new", "/pacs/system"):
        page = client.get(path)
        assert page.status_code == 200, path
        named |= set(re.findall(r'(?:src|href|data-zip)="(/pacs/(?:static|vendor)/[^"#]+)', page.text))
    assert len(named) >= 8
    for address in named:
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["Cache-Control"], address


def test_study_that_arrives_is_listed_and_shown(client: httpx.Client, pacs: RunningPacs) -> None:
    """From Orthanc's store to our list, page, thumbnail and ZIP, with no patient's name in the file name."""
    image = dicom_image(PatientName="LISTADO^Prueba", PatientID="INT-1", Modality="MR", StudyDescription="RM de prueba")
    stored = pacs.archive.post_bytes("/instances", as_file(image))
    wait_for(lambda: "LISTADO" in client.get("/pacs/studies?q=listado").text)
    page = client.get(f"/pacs/studies/{image.StudyInstanceUID}")
    assert "RM de prueba" in page.text
    picture = client.get(f"/pacs/series/{stored['ParentSeries']}/thumbnail")
    assert picture.content[:4] == b"\x89PNG"
    archive = client.get(f"/pacs/studies/{image.StudyInstanceUID}/archive", follow_redirects=True)
    assert re.search(r'filename="MR_2026-03-10_[0-9a-f]{8}\.zip"', archive.headers["Content-Disposition"])
    assert len(ZipFile(BytesIO(archive.content)).namelist()) == 1
    media = client.get(f"/pacs/studies/{image.StudyInstanceUID}/media", follow_redirects=True)
    assert "DICOMDIR" in ZipFile(BytesIO(media.content)).namelist()


def test_series_of_every_kind_have_a_thumbnail(client: httpx.Client, pacs: RunningPacs, real_dicom: Path) -> None:
    """Real images compressed and not, several frames, RT structures: a picture or a symbol, and Orthanc lives on."""
    files = [next(real_dicom.glob(f"{folder}/*")) for folder in ("ct_chest_jpegll148", "ct_head_ge_vartilt28")]
    files += [*real_dicom.glob("rt_struct/*.dcm"), *real_dicom.glob("edge_small/philips_enhanced/*/*/*.dcm")]
    kinds = set()
    for file in files:
        stored = pacs.archive.post_bytes("/instances", file.read_bytes())
        answer = client.get(f"/pacs/series/{stored['ParentSeries']}/thumbnail", follow_redirects=True)
        assert answer.status_code == 200
        kinds.add(answer.headers["Content-Type"].partition(";")[0])
    assert kinds == {"image/png", "image/svg+xml"}
    assert pacs.alive()


def test_node_stays_in_orthanc_and_answers_an_echo(client: httpx.Client, pacs: RunningPacs) -> None:
    """Added by the form, known to Orthanc, verified against this very archive, removed."""
    form = {"name": "SELF", "ae_title": pacs.aet, "host": "127.0.0.1", "port": str(pacs.dicom_port)}
    form |= {"timeout_seconds": "0"}
    assert client.post("/pacs/aes/new", data=form | {"permissions": "AllowEcho"}).status_code == 303
    known = pacs.archive.get_json("/modalities/SELF/configuration")
    assert (known["AET"], known["AllowEcho"], known["AllowStore"]) == (pacs.aet, True, False)
    assert "SELF answers." in client.post("/pacs/aes/SELF/echo").text
    assert client.post("/pacs/aes/SELF/remove").status_code == 303
    assert "SELF" not in pacs.archive.get_json("/modalities")


def test_writes_from_another_site_do_not_reach_the_pages(client: httpx.Client, pacs: RunningPacs) -> None:
    """A form elsewhere can't add a node with this person's browser."""
    form = {"name": "EVIL", "ae_title": "EVIL", "host": "10.0.0.1", "port": "104", "timeout_seconds": "0"}
    answer = client.post("/pacs/aes/new", data=form, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert "EVIL" not in pacs.archive.get_json("/modalities")


def test_orthanc_answers_uploads_as_the_page_expects(client: httpx.Client) -> None:
    """The words of the Upload page rest on these answers: stored, already there, damaged."""
    content = as_file(dicom_image(PatientID="INT-2"))
    answers = [client.post("/instances", content=body) for body in (content, content, content[: len(content) // 2])]
    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert [answers[0].json()["Status"], answers[1].json()["Status"]] == ["Success", "AlreadyStored"]
    assert answers[2].json()["type"] == "urn:pacs-cloud:problem:refused-file"


def test_system_tells_what_runs(client: httpx.Client) -> None:
    """Versions, disk and the threads of the program, alive."""
    page = client.get("/pacs/system").text
    for text in ("1.12.7", "dicom-web", "SQLite", "Works"):
        assert text in page
    assert "Failed, will start again" not in page
