"""No image ends Orthanc: every transfer syntax, whole and malformed, asked for on every way out, many at a time.

With Debian's GDCM plugin, or with DCMTK as Debian builds it and nothing around it, several of these ended the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import batched
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from fixtures.dcmtk import ask, storescp
from fixtures.fictitious_studies import as_file
from fixtures.malformed_images import malformed_images, signed_image
from fixtures.running_pacs import RunningPacs
from fixtures.sample_images import SYNTAXES, image_in
from fixtures.stations import register

PARALLEL = 8
TIMEOUT_SECONDS = 60
WORKSTATION = "MATRIX_WS"
# What Orthanc can't decode by itself: our child processes do, and viewers that do get the stored stream.
DECODED_BY_US = (JPEG2000Lossless, JPEG2000, HTJ2KLossless)
TARGETS = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5",
    *(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91, 201)),
)
OCTETS = "multipart/related; type=application/octet-stream; transfer-syntax="
DICOM = "multipart/related; type=application/dicom; transfer-syntax="

type Request = tuple[str, str, dict[str, str], object]


@pytest.fixture(scope="module")
def web(pacs: RunningPacs) -> Iterator[httpx.Client]:
    """Return a client with enough connections to ask in parallel."""
    limits = httpx.Limits(max_connections=PARALLEL, max_keepalive_connections=PARALLEL)
    with httpx.Client(base_url=pacs.url, timeout=TIMEOUT_SECONDS, limits=limits) as client:
        yield client


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_no_way_out_ends_orthanc_when_an_image_is_whole(pacs: RunningPacs, web: httpx.Client, syntax: UID) -> None:
    """Each way out answers, with the image or with a refusal, and the same process is there afterwards."""
    before = pacs.orthanc_pid()
    instance = _stored(web, as_file(image_in(syntax, f"MATRIX-{syntax.name[:30]}")))
    assert instance
    statuses = _asked(web, list(_ways_out(web, instance)))
    assert pacs.orthanc_pid() == before, statuses
    assert statuses[200] > 30, statuses


@pytest.mark.parametrize("syntax", sorted({*SYNTAXES, *DECODED_BY_US}), ids=lambda syntax: UID(syntax).name)
def test_preview_shows_the_image_in_every_syntax(web: httpx.Client, syntax: UID) -> None:
    """The quick look of Orthanc Explorer shows the disc of the test image, bright on dark."""
    instance = _stored(web, as_file(image_in(syntax, f"PREVIEW-{syntax.name[:30]}")))
    answer = web.get(f"/instances/{instance}/preview", headers={"Accept": "image/png"}).raise_for_status()
    shown = np.asarray(Image.open(BytesIO(answer.content)).convert("L"))
    assert shown.shape == (64, 64)
    assert shown[32, 32] > shown[2, 2] + 50


@pytest.mark.parametrize("syntax", DECODED_BY_US, ids=lambda syntax: syntax.name)
def test_frame_comes_as_stored_when_the_viewer_decodes_the_syntax(web: httpx.Client, syntax: UID) -> None:
    """OHIF asks for any syntax, gets the stream that the modality sent and decodes it itself."""
    image = image_in(syntax, f"FRAME-{syntax.name[:30]}")
    _stored(web, as_file(image))
    path = (
        f"/dicom-web/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}/instances/{image.SOPInstanceUID}"
    )
    answer = web.get(f"{path}/frames/1", headers={"Accept": f"{OCTETS}*"}).raise_for_status()
    assert bytes(image.PixelData)[-200:-8] in answer.content
    assert syntax in answer.text[:500]


@pytest.mark.parametrize("target", [JPEGLSLossless, JPEGLSNearLossless], ids=lambda target: target.name)
def test_jpeg_ls_is_refused_when_a_signed_image_is_asked_for_in_it(
    pacs: RunningPacs, web: httpx.Client, target: UID
) -> None:
    """The encoder whose assertions abort the process is out of service; its decoder is not (see the previews)."""
    before = pacs.orthanc_pid()
    instance = _stored(web, as_file(signed_image()))
    assert web.get(f"/instances/{instance}/file", params={"transcode": target}).status_code in range(400, 600)
    assert web.post(f"/instances/{instance}/modify", json={"Transcode": target}).status_code in range(400, 600)
    assert web.get(f"/instances/{instance}/file", params={"transcode": JPEGLosslessSV1}).status_code == 200
    assert pacs.orthanc_pid() == before


@pytest.mark.timeout(1200)  # thousands of requests: on a machine that does much else, minutes
def test_no_way_out_ends_orthanc_when_images_are_malformed(pacs: RunningPacs, web: httpx.Client) -> None:
    """Malformed images are refused at the door or survive every way out; none takes the process along."""
    before, outcomes = pacs.orthanc_pid(), Counter[str]()
    for batch in batched(malformed_images(), 12, strict=False):
        kinds = [kind for kind, _ in batch]
        stored = [instance for _, file in batch if (instance := _stored(web, file))]
        outcomes.update(refused=len(batch) - len(stored), stored=len(stored))
        requests = [request for instance in stored for request in _ways_out(web, instance, thorough=False)]
        statuses = _asked(web, requests)
        assert pacs.orthanc_pid() == before, (kinds, statuses)
    assert outcomes["refused"] > 30, outcomes
    assert outcomes["stored"] > 80, outcomes
    assert pacs.alive()


@pytest.mark.parametrize("proposed", ["+xi", "+xv", "+xt"], ids=["implicit only", "JPEG 2000 only", "JPEG-LS only"])
def test_retrieval_answers_when_the_workstation_takes_one_syntax(
    pacs: RunningPacs, web: httpx.Client, tmp_path: Path, proposed: str
) -> None:
    """C-GET and C-MOVE end with a status, whatever has to be transcoded, and the process is there afterwards."""
    before = pacs.orthanc_pid()
    images = [image_in(syntax, "MATRIX-GET") for syntax in SYNTAXES if syntax != HTJ2KLossless]
    for image in images:
        image.StudyInstanceUID = images[0].StudyInstanceUID
        assert _stored(web, as_file(image))
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={images[0].StudyInstanceUID}")
    with storescp(tmp_path / "moved", WORKSTATION) as port:
        register(pacs, WORKSTATION, port)
        got = ask("getscu", pacs, "-S", proposed, "-od", str(tmp_path), *keys, calling=WORKSTATION)
        moved = ask("movescu", pacs, "-S", "-aem", WORKSTATION, *keys, calling=WORKSTATION)
    assert "Final" in got.stdout, got.stdout
    assert "Received Final Move Response" in moved.stdout, moved.stdout
    assert list((tmp_path / "moved").iterdir()), moved.stdout
    assert pacs.orthanc_pid() == before


def test_lossless_transcoding_keeps_the_pixels_when_a_syntax_is_decoded(web: httpx.Client) -> None:
    """JPEG Lossless and back is the image that was sent."""
    image = image_in(ExplicitVRLittleEndian, "MATRIX-LOSSLESS")
    instance = _stored(web, as_file(image))
    answer = web.get(f"/instances/{instance}/file", params={"transcode": JPEGLosslessSV1}).raise_for_status()
    assert np.array_equal(dcmread(BytesIO(answer.content)).pixel_array, image.pixel_array)


def _stored(web: httpx.Client, file: bytes) -> str:
    """Send a file; return Orthanc's identifier of the instance, or an empty string when it was refused."""
    answer = web.post("/instances", content=file, headers={"Content-Type": "application/dicom"})
    assert answer.status_code < 500 or "memory" in answer.text, answer.text
    return str(answer.json().get("ID", "")) if answer.status_code == 200 else ""


def _asked(web: httpx.Client, requests: Sequence[Request]) -> Counter[int]:
    """Send all requests, many at a time; count the statuses. NGINX says 502 where Orthanc hangs up."""

    def ask_one(request: Request) -> int:
        method, path, headers, body = request
        return web.request(method, path, headers=headers, json=body).status_code

    with ThreadPoolExecutor(PARALLEL) as pool:
        statuses = Counter(pool.map(ask_one, requests))
    assert not statuses[502], statuses
    return statuses


def _ways_out(web: httpx.Client, instance: str, *, thorough: bool = True) -> Iterator[Request]:
    """Yield requests for the image in all the forms that Orthanc and its plugins offer."""
    tags = web.get(f"/instances/{instance}/simplified-tags").json()
    series = web.get(f"/instances/{instance}/series").json()["ID"]
    study_uid, series_uid, sop_uid = (tags[f"{level}InstanceUID"] for level in ("Study", "Series", "SOP"))
    in_series = f"/dicom-web/studies/{study_uid}/series/{series_uid}"
    wado = f"/wado?requestType=WADO&studyUID={study_uid}&seriesUID={series_uid}&objectUID={sop_uid}"
    yield from _rest(instance, series)
    yield from _dicomweb(in_series, f"{in_series}/instances/{sop_uid}")
    yield from (("GET", f"{wado}&contentType={kind}", {}, None) for kind in ("image/jpeg", "image/png", "image/jp2"))
    for target in TARGETS if thorough else (ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless):
        yield "GET", f"/instances/{instance}/file?transcode={target}", {}, None
        yield "GET", f"/series/{series}/archive?transcode={target}", {}, None
        yield "GET", f"{wado}&contentType=application/dicom&transferSyntax={target}", {}, None
        yield "GET", f"{in_series}/instances/{sop_uid}", {"Accept": f"{DICOM}{target}"}, None
        yield "GET", f"{in_series}/instances/{sop_uid}/frames/1", {"Accept": f"{OCTETS}{target}"}, None
        yield "POST", f"/instances/{instance}/anonymize", {}, {"Transcode": target, "Force": True}


def _rest(instance: str, series: str) -> Iterator[Request]:
    """Yield what Orthanc Explorer, the web viewer and scripts ask Orthanc itself for."""
    for form in ("preview", "image-uint8", "image-uint16", "image-int16", "rendered", "numpy", "raw", "raw.gz"):
        for frame in (0, 1, 99_999):
            yield "GET", f"/instances/{instance}/frames/{frame}/{form}", {}, None
    for kind in ("image/png", "image/jpeg", "image/x-portable-arbitrarymap"):
        yield "GET", f"/instances/{instance}/preview", {"Accept": kind}, None
    yield "GET", f"/instances/{instance}/rendered?width=20&height=30&window-center=1&window-width=0", {}, None
    yield "GET", f"/instances/{instance}/tags?whole", {}, None
    yield "GET", f"/series/{series}/numpy", {}, None
    yield "GET", f"/series/{series}/media", {}, None
    yield "GET", f"/web-viewer/series/{series}", {}, None
    for name in (f"jpeg95-{instance}_0", f"deflate-{instance}_0", f"deflate-{instance}_2"):
        yield "GET", f"/web-viewer/instances/{name}", {}, None


def _dicomweb(in_series: str, in_instance: str) -> Iterator[Request]:
    """Yield what DICOMweb viewers ask for."""
    for kind in ("image/jpeg", "image/png", "image/gif", "video/mp4"):
        for resource in (in_series, in_instance, f"{in_instance}/frames/1"):
            yield "GET", f"{resource}/rendered", {"Accept": kind}, None
    yield "GET", f"{in_instance}/rendered?viewport=10,10&window=10,0,linear", {"Accept": "image/jpeg"}, None
    for kind in ("image/jpeg", "image/jp2", "image/jls", "image/x-dicom-rle"):
        yield "GET", f"{in_instance}/frames/1", {"Accept": f'multipart/related; type="{kind}"'}, None
    for resource in ("frames/1", "frames/1,2,3", "frames/0", "frames/99999", "metadata", "bulk/7fe00010"):
        yield "GET", f"{in_instance}/{resource}", {}, None
    yield "GET", f"{in_instance}/frames/1", {"Accept": f"{OCTETS}*"}, None
