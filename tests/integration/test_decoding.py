"""JPEG 2000 and HTJ2K leave the archive in forms that every station and every browser takes."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from pynetdicom import build_context

from fixtures.dcmtk import ask
from fixtures.fictitious_studies import as_file
from fixtures.malformed_images import malformed_images
from fixtures.running_pacs import RunningPacs
from fixtures.sample_images import image_in
from fixtures.stations import listening, register

STATION = "OLD_STATION"
OCTETS = "multipart/related; type=application/octet-stream"
DECODED_BY_US = (JPEG2000Lossless, HTJ2KLossless)
# A child process is started anew after each failure; with room for a loaded machine.
QUICK_SECONDS = 15


@pytest.fixture(scope="module")
def web(pacs: RunningPacs) -> Iterator[httpx.Client]:
    """Return a client of the archive's one address."""
    with httpx.Client(base_url=pacs.url, timeout=60) as client:
        yield client


def stored(web: httpx.Client, file: bytes) -> str:
    """Store a file and return Orthanc's identifier of its series."""
    instance = web.post("/instances", content=file).raise_for_status().json()["ID"]
    return str(web.get(f"/instances/{instance}/series").raise_for_status().json()["ID"])


def frame_path(image: Dataset) -> str:
    """Return the DICOMweb address of the first frame."""
    return (
        f"/dicom-web/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}"
        f"/instances/{image.SOPInstanceUID}/frames/1"
    )


@pytest.mark.parametrize("syntax", DECODED_BY_US, ids=lambda syntax: syntax.name)
def test_thumbnail_shows_the_image(web: httpx.Client, syntax: UID) -> None:
    """The study page has its picture, the disc bright on dark, and the browser keeps it."""
    series = stored(web, as_file(image_in(syntax, f"THUMB-{syntax[-3:]}")))
    answer = web.get(f"/pacs/series/{series}/thumbnail").raise_for_status()
    picture = np.asarray(Image.open(BytesIO(answer.content)).convert("L"))
    assert picture[32, 32] > picture[2, 2] + 200
    again = web.get(f"/pacs/series/{series}/thumbnail", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("taken", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda syntax: syntax.name)
def test_c_move_brings_every_sample_when_a_station_takes_no_jpeg_2000(
    pacs: RunningPacs, web: httpx.Client, taken: UID
) -> None:
    """The image arrives uncompressed, the same instance with the same pixels."""
    original = image_in(ExplicitVRLittleEndian, f"MOVE-{taken[-2:]}")
    compressed = image_in(JPEG2000Lossless, f"MOVE-{taken[-2:]}")
    stored(web, as_file(compressed))
    with listening(STATION, [build_context(CTImageStorage, taken)]) as station:
        register(pacs, STATION, station.port)
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={compressed.StudyInstanceUID}")
        done = ask("movescu", pacs, "-S", "-aem", STATION, *keys, calling=STATION)
    assert "Received Final Move Response (Success)" in done.stdout, done.stdout
    assert list(station.received) == [compressed.SOPInstanceUID]
    assert original.PixelData in station.received[compressed.SOPInstanceUID]


@pytest.mark.parametrize("accept", [f"{OCTETS}; transfer-syntax={ExplicitVRLittleEndian}", OCTETS, "*/*"])
@pytest.mark.parametrize("syntax", DECODED_BY_US, ids=lambda syntax: syntax.name)
def test_frame_comes_uncompressed_when_the_client_decodes_nothing(web: httpx.Client, syntax: UID, accept: str) -> None:
    """Every sample as it was before the compression, under its true transfer syntax."""
    image = image_in(syntax, f"RAW-{syntax[-3:]}")
    stored(web, as_file(image))
    answer = web.get(frame_path(image), headers={"Accept": accept}).raise_for_status()
    assert f"transfer-syntax={ExplicitVRLittleEndian}" in answer.headers["Content-Type"]
    assert image_in(ExplicitVRLittleEndian, "").PixelData in answer.content
    assert answer.headers.get_list("Cache-Control") == ["private, max-age=3600"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (f"{OCTETS}; transfer-syntax=*", "application/octet-stream"),
        (f"{OCTETS}; transfer-syntax={HTJ2KLossless}", "application/octet-stream"),
        ('multipart/related; type="image/jphc"', "image/jphc"),
        (f'multipart/related; type="image/jls", {OCTETS}; transfer-syntax=*', "application/octet-stream"),
    ],
)
def test_htj2k_frame_comes_as_stored_when_the_client_takes_it(web: httpx.Client, accept: str, kind: str) -> None:
    """The stream that the modality made, byte for byte, in a part that says what it is."""
    image = image_in(HTJ2KLossless, "JPHC")
    stored(web, as_file(image))
    answer = web.get(frame_path(image), headers={"Accept": accept}).raise_for_status()
    assert f"Content-Type: {kind}; transfer-syntax={HTJ2KLossless}\r\n".encode() in answer.content
    assert bytes(image.PixelData)[-200:-8] in answer.content


@pytest.mark.parametrize(
    ("change", "accept", "status"),
    [
        ("", 'multipart/related; type="image/jpeg"', 406),
        ("", "text/html", 406),
        ("/2", "*/*", 404),
        (",2", "*/*", 404),
        ("0", "*/*", 404),
        ("study", "*/*", 404),
    ],
)
def test_htj2k_frame_is_refused_with_reason(web: httpx.Client, change: str, accept: str, status: int) -> None:
    """What is not there or can't be made is a 404 or a 406, not an error of the server."""
    image = image_in(HTJ2KLossless, "JPHC-REFUSED")
    stored(web, as_file(image))
    path = frame_path(image)
    path = path.replace(image.StudyInstanceUID, "1.2.3") if change == "study" else path + change
    assert web.get(path, headers={"Accept": accept}).status_code == status


def test_broken_jpeg_2000_has_no_picture_and_harms_nothing(pacs: RunningPacs, web: httpx.Client) -> None:
    """The page shows the symbol, the preview is refused, in time; Orthanc lives and the next image is shown."""
    before, refused = pacs.orthanc_pid(), 0
    for kind, data in malformed_images():
        if not kind.startswith(JPEG2000Lossless.name):
            continue
        answer = web.post("/instances", content=data)
        if answer.status_code != 200:
            continue
        instance = answer.json()["ID"]
        asked = web.get(f"/instances/{instance}/preview")
        assert asked.status_code in {200, 415}, kind
        assert asked.elapsed.total_seconds() < QUICK_SECONDS, kind
        refused += asked.status_code == 415
    assert refused > 10
    assert pacs.orthanc_pid() == before
    series = stored(web, as_file(image_in(JPEG2000Lossless, "AFTERWARDS")))
    assert web.get(f"/pacs/series/{series}/thumbnail").status_code == 200


def test_broken_jpeg_2000_leads_to_the_symbol(web: httpx.Client) -> None:
    """No picture on the study page is a symbol, quickly, and no broken image."""
    damaged = next(data for kind, data in malformed_images() if kind == f"{JPEG2000Lossless.name}: noise")
    series = stored(web, damaged)
    answer = web.get(f"/pacs/series/{series}/thumbnail")
    assert answer.headers["Location"].endswith("/kinds/other.svg")
    assert answer.elapsed.total_seconds() < QUICK_SECONDS


def test_metrics_tell_what_was_decoded(web: httpx.Client) -> None:
    """How many, how they ended, how many children there are."""
    stored_series = stored(web, as_file(image_in(JPEG2000Lossless, "METRICS")))
    web.get(f"/pacs/series/{stored_series}/thumbnail").raise_for_status()
    text = web.get("/pacs/metrics").text
    assert 'pacs_decoding_jobs_total{outcome="done",task="render"}' in text
    assert 'pacs_decoding_processes{state="waiting"} 0.0' in text


def test_temporary_files_of_decoding_are_gone(pacs: RunningPacs) -> None:
    """No patient's image stays behind."""
    folder = pacs.data_directory / "temporary" / "decoding"
    assert [path for path in folder.rglob("*") if path.name in {"source", "target"}] == []
