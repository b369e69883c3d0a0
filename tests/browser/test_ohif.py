"""OHIF in a real browser: what it shows is looked at pixel by pixel, and what it asks for is looked at, too."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, Page, Request, Response, expect
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from fixtures.browsers import GRAPHICS, chromium
from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.running_pacs import RunningPacs
from fixtures.sample_images import image_in
from fixtures.segmentations import hounsfield, segmentation
from fixtures.videos import h264_instance
from pacs.demo.attributes import Series, Study
from pacs.demo.documents import pdf_document
from pacs.demo.studies import ct_series

SECONDS = 60
DARK, BRIGHT = 60, 190
# Sent as they are stored, for the browser to decode; the others reach it as Explicit VR Little Endian.
COMPRESSED = (RLELossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
OTHERS = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


class Watch:
    """Notes what must not happen while a page is used, and in which form frames came."""

    def __init__(self, page: Page, url: str) -> None:
        self.url = url
        self.faults: list[str] = []
        self.frame_types: set[str] = set()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        page.on("request", self._note_request)
        page.on("response", self._note_response)

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self.url + "/", "blob:", "data:", "chrome")):
            self.faults.append(f"asked another host: {request.url}")

    def _note_response(self, response: Response) -> None:
        if "/frames/" in response.url:
            self.frame_types.add(response.headers["content-type"])
        if response.status >= 400:
            self.faults.append(f"{response.status} {response.url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser that can draw by WebGL."""
    with chromium(*GRAPHICS) as started:
        yield started


@pytest.fixture
def page(browser: Browser, pacs: RunningPacs) -> Iterator[Page]:
    """Return a page of a browser that was never here before."""
    context = browser.new_context(base_url=pacs.url, locale="en-GB", viewport={"width": 1200, "height": 800})
    yield context.new_page()
    context.close()


@pytest.fixture
def watch(page: Page, pacs: RunningPacs) -> Iterator[Watch]:
    """Fail the test if the page reports errors, is refused something, or asks another host."""
    watch = Watch(page, pacs.url)
    yield watch
    assert watch.faults == []


def store(pacs: RunningPacs, instances: Sequence[Dataset]) -> str:
    """Send the instances of one study and return its UID."""
    for instance in instances:
        pacs.archive.post_bytes("/instances", as_file(instance))
    return str(instances[0].StudyInstanceUID)


def open_study(page: Page, study_instance_uid: str, more: str = "") -> None:
    """Open a study by the link that other pages lead to it with."""
    page.goto(f"/ohif/viewer?StudyInstanceUIDs={study_instance_uid}{more}", wait_until="commit")


def picture(part: Locator) -> NDArray[np.int16]:
    """Return what a part of the page looks like, shape (rows, columns, 3)."""
    return np.asarray(Image.open(BytesIO(part.screenshot())).convert("RGB")).astype(np.int16)


def wait_for_picture(part: Locator, share: float, low: int, high: int = 255) -> NDArray[np.int16]:
    """Wait until at least `share` of the pixels of `part` are as bright as `low` to `high`, then return the picture."""
    part.wait_for(timeout=SECONDS * 1000)
    deadline = time.monotonic() + SECONDS
    while True:
        shown = picture(part)
        brightness = shown.max(axis=-1)
        found = float(((brightness >= low) & (brightness <= high)).mean())
        if found >= share:
            return shown
        assert time.monotonic() < deadline, f"{found:.1%} of the pixels are that bright, expected {share:.1%}"
        time.sleep(0.2)


def assert_disc(shown: NDArray[np.int16]) -> None:
    """Look for the disc of `dicom_image`: bright in the middle, dark around."""
    rows, columns, _ = shown.shape
    assert shown[rows // 2 - 20 : rows // 2 + 20, columns // 2 - 20 : columns // 2 + 20].min() > BRIGHT
    assert np.median(shown[rows // 2, 10:60]) < DARK


def viewports(page: Page) -> Locator:
    """Return the canvases that images are drawn on."""
    return page.locator("canvas.cornerstone-canvas")


@pytest.mark.usefixtures("watch")
def test_list_shows_names_and_descriptions(page: Page, pacs: RunningPacs) -> None:
    """The study list has names and descriptions as they were written, and finds by an accented name."""
    number = generate_uid()[-8:]
    store(
        pacs, [dicom_image(PatientName=f"NÚÑEZ^Íñigo {number}", StudyDescription=f"Tórax {number}", PatientID=number)]
    )
    store(pacs, [dicom_image(PatientName=f"OTHER^Ana {number}", StudyDescription=f"Other {number}", PatientID=number)])
    page.goto("/ohif/")
    expect(page.get_by_text(f"Tórax {number}")).to_be_visible(timeout=SECONDS * 1000)
    page.goto(f"/ohif/?patientName=NÚÑEZ&mrn={number}")
    expect(page.get_by_text(f"NÚÑEZ, Íñigo {number}")).to_be_visible(timeout=SECONDS * 1000)
    expect(page.get_by_text(f"Other {number}")).to_have_count(0)


@pytest.mark.parametrize("syntax", [*COMPRESSED, *OTHERS], ids=lambda syntax: syntax.keyword)
def test_viewer_shows_an_image_of_each_syntax(page: Page, watch: Watch, pacs: RunningPacs, syntax: UID) -> None:
    """The first image is shown with nothing over it, and compressed frames come as they are stored."""
    image = image_in(syntax, "OHIF-1")
    image.WindowCenter, image.WindowWidth = (62, 124) if syntax == JPEGBaseline8Bit else (1000, 2000)
    open_study(page, store(pacs, [image]))
    assert_disc(wait_for_picture(viewports(page).first, 0.1, BRIGHT))
    assert page.locator(".shepherd-element").count() == 0
    (frame_type,) = watch.frame_types
    if syntax in COMPRESSED:
        assert f"transfer-syntax={syntax}" in frame_type


@pytest.mark.usefixtures("watch")
def test_viewer_shows_three_planes(page: Page, pacs: RunningPacs) -> None:
    """A CT series is shown in three planes, each a different picture with bone and air in it."""
    study = store(pacs, ct_series(Study(key="ohif mpr"), slices=40, size=128, lowest_z=0))
    open_study(page, study, "&hangingprotocolId=mpr")
    expect(viewports(page)).to_have_count(3, timeout=SECONDS * 1000)
    pictures = [wait_for_picture(viewports(page).nth(plane), 0.01, BRIGHT) for plane in range(3)]
    assert all((shown.max(axis=-1) < DARK).mean() > 0.2 for shown in pictures)
    assert not np.array_equal(pictures[1], pictures[2])


@pytest.mark.usefixtures("watch")
def test_viewer_shows_a_segmentation(page: Page, pacs: RunningPacs) -> None:
    """Opening a DICOM SEG colors the image where the segment is, and only there."""
    images = ct_series(Study(key="ohif seg"), slices=5, size=128)
    bone = hounsfield(images) > 200
    study = store(pacs, [*images, segmentation(images, bone[None], ["Hueso"])])
    open_study(page, study)
    wait_for_picture(viewports(page).first, 0.01, BRIGHT)
    page.get_by_text("Segmentación de prueba").first.dblclick()
    deadline = time.monotonic() + SECONDS
    colored = 0.0
    while colored < 0.003 and time.monotonic() < deadline:
        shown = picture(viewports(page).first)
        colored = float(((shown.max(axis=-1) - shown.min(axis=-1)) > 60).mean())
    assert 0.003 < colored < 0.2


@pytest.mark.usefixtures("watch")
def test_viewer_shows_a_document(page: Page, pacs: RunningPacs) -> None:
    """An encapsulated PDF is shown as a page of white paper."""
    report = pdf_document(Series(Study(key="ohif pdf"), "DOC", 1, "Informe"), 1, "Informe", ["Sin hallazgos"])
    open_study(page, store(pacs, [report]))
    wait_for_picture(page.locator("object[type='application/pdf']"), 0.25, 250)


@pytest.mark.usefixtures("watch")
def test_viewer_plays_a_video(page: Page, pacs: RunningPacs) -> None:
    """A video is shown in its colors, fetched part by part."""
    parts: list[int] = []
    page.on("response", lambda response: parts.append(response.status) if response.url.endswith("/rendered") else None)
    open_study(page, store(pacs, [h264_instance(Series(Study(key="ohif video"), "XC", 1, "Video"), 1)]))
    shown = wait_for_picture(viewports(page).first, 0.2, 100)
    assert (shown.max(axis=-1) - shown.min(axis=-1)).max() > 100
    assert set(parts) == {206}


@pytest.mark.usefixtures("watch")
def test_viewer_takes_an_upload(page: Page, pacs: RunningPacs) -> None:
    """A file given to OHIF's own upload is in the archive afterwards."""
    number = generate_uid()[-10:]
    page.goto("/ohif/")
    page.get_by_text("Upload").first.click(timeout=SECONDS * 1000)
    content = as_file(dicom_image(PatientID=number))
    file = FilePayload(name="image.dcm", mimeType="application/dicom", buffer=content)
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.get_by_text(re.compile("1 file completed"))).to_be_visible(timeout=SECONDS * 1000)
    found = pacs.archive.post_json("/tools/find", {"Level": "Study", "Query": {"PatientID": number}})
    assert len(found) == 1


@pytest.mark.parametrize(("spoken", "used"), [("es-PY", "es"), ("pt-PT", "pt-BR"), ("de-DE", "en-US")])
def test_viewer_speaks_the_language_of_the_browser(browser: Browser, pacs: RunningPacs, spoken: str, used: str) -> None:
    """Where nobody chose a language on the pages, OHIF takes the browser's if it is one of ours."""
    context = browser.new_context(base_url=pacs.url, locale=spoken)
    page = context.new_page()
    page.goto("/ohif/")
    expect(page.locator("#root > *")).not_to_have_count(0, timeout=SECONDS * 1000)
    assert page.evaluate("localStorage.getItem('i18nextLng')") == used
    context.close()


def test_viewer_speaks_the_language_chosen_on_the_pages(page: Page, pacs: RunningPacs) -> None:
    """A choice on the pages is OHIF's choice as well."""
    page.context.add_cookies([{"name": "pacs_language", "value": "pt", "url": pacs.url}])
    page.goto("/ohif/")
    assert page.evaluate("localStorage.getItem('i18nextLng')") == "pt-BR"
