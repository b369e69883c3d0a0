"""What people of different roles are shown, in a real browser through the sign-in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from fixtures.browsers import GRAPHICS, chromium
from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.signed_in_pacs import COOKIE, SignedInPacs, signed_in_pacs
from pacs.archive_http import HttpArchive

SECONDS = 60
BRIGHT = 190
EVERYTHING = [
    *("Estudios", "Lista de trabajo", "Subir", "3D", "Estado", "HL7", "Envíos", "AE"),
    *("Copias de seguridad", "Sistema"),
]


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedInPacs]:
    """Run the archive behind a sign-in, with a station and a study."""
    with signed_in_pacs(tmp_path_factory.mktemp("signed")) as started:
        yield started


@pytest.fixture(scope="module")
def study(signed: SignedInPacs) -> str:
    """Store a study, wait until the list has it, and return its StudyInstanceUID."""
    inside = HttpArchive(f"http://127.0.0.1:{signed.inside.orthanc_http_port()}")
    image = dicom_image(PatientName="REFERIDA^Ana", PatientID="ROLES-1", Modality="CT")
    image.WindowCenter, image.WindowWidth = 1000, 2000
    inside.post_bytes("/instances", as_file(image))
    inside.put_json("/modalities/NOBODY", {"AET": "NOBODY", "Host": "127.0.0.1", "Port": 1})
    give_up_at = time.monotonic() + SECONDS
    while b'class="row-link"' not in signed.ask("admin", "GET", "/pacs/studies?id=ROLES-1").body:
        assert time.monotonic() < give_up_at, "the list does not show what was stored"
        time.sleep(0.3)
    return str(image.StudyInstanceUID)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser that can draw by WebGL."""
    with chromium(*GRAPHICS) as started:
        yield started


@contextmanager
def opened(browser: Browser, signed: SignedInPacs, session: str, path: str) -> Iterator[tuple[Page, list[str]]]:
    """Open a page as somebody; beside it what was refused since, by method and address."""
    context = browser.new_context(base_url=signed.url, locale="es-PY", viewport={"width": 1200, "height": 800})
    context.add_cookies([{"name": COOKIE, "value": session, "url": signed.url}])
    page = context.new_page()
    refused: list[str] = []
    page.on("pageerror", lambda error: refused.append(str(error)))
    page.on(
        "response",
        lambda answer: refused.append(f"{answer.request.method} {answer.url}") if answer.status >= 400 else None,
    )
    page.goto(path)
    yield page, refused
    context.close()


def bright_share(part: Locator) -> float:
    """Return how much of a part of the page is bright."""
    shown = np.asarray(Image.open(BytesIO(part.screenshot())).convert("L"))
    return float((shown > BRIGHT).mean())


@pytest.mark.usefixtures("study")
def test_referring_doctor_finds_and_opens_a_study_and_is_offered_no_more(
    browser: Browser, signed: SignedInPacs
) -> None:
    """Neither sending nor downloading, no AE, no upload, no way to delete; and nothing on these pages is refused."""
    with opened(browser, signed, "referring", "/pacs/studies?id=ROLES-1") as (page, refused):
        expect(page.locator("nav.nav a")).to_have_text(["Estudios", "Estado"])
        expect(page.get_by_text("Subir")).to_have_count(0)
        page.locator("#results .row-link").click()
        expect(page.get_by_role("heading", name="REFERIDA, Ana")).to_be_visible()
        expect(page.locator(".actions .button")).to_have_text(["Abrir en OHIF", "Weasis"])
        expect(page.locator("form[action*='/send'], a[href*='archive'], a[href*='media']")).to_have_count(0)
        assert "NOBODY" not in page.content()
        expect(page.locator(".card img")).to_have_js_property("complete", value=True)
        # Files dropped on the list go nowhere, and no script stumbles over it.
        page.go_back()
        page.evaluate("document.dispatchEvent(new DragEvent('dragenter', {dataTransfer: new DataTransfer()}))")
        assert refused == []


def test_referring_doctor_sees_the_image_in_both_viewers(browser: Browser, signed: SignedInPacs, study: str) -> None:
    """All that OHIF and Orthanc's web viewer ask for is theirs to ask."""
    with opened(browser, signed, "referring", f"/ohif/viewer?StudyInstanceUIDs={study}") as (page, refused):
        canvas = page.locator("canvas.cornerstone-canvas").first
        canvas.wait_for(timeout=SECONDS * 1000)
        give_up_at = time.monotonic() + SECONDS
        while bright_share(canvas) < 0.1:
            assert time.monotonic() < give_up_at, "no image in OHIF"
            time.sleep(0.2)
        page.goto(f"/pacs/studies/{study}")
        page.get_by_role("link", name="Visor de Orthanc").click()
        canvas = page.locator("canvas").first
        canvas.wait_for(timeout=SECONDS * 1000)
        give_up_at = time.monotonic() + SECONDS
        while bright_share(canvas) < 0.1:
            assert time.monotonic() < give_up_at, "no image in Orthanc's viewer"
            time.sleep(0.2)
        assert refused == []


@pytest.mark.parametrize("path", ["/pacs/aes", "/pacs/upload", "/pacs/hl7", "/pacs/system", "/pacs/worklist"])
def test_typed_address_is_answered_with_who_may(browser: Browser, signed: SignedInPacs, path: str) -> None:
    """A page that says in one's language that and to whom it is allowed, with the way back."""
    with opened(browser, signed, "referring", path) as (page, refused):
        expect(page.get_by_role("heading", level=1)).to_have_text("Su rol no lo permite")
        expect(page.locator(".blank > p").first).to_contain_text("Pueden hacerlo estos roles: administrador")
        page.get_by_role("link", name="Ir a los estudios").click()
        expect(page.get_by_role("searchbox")).to_be_visible()
        assert refused == [f"GET {signed.url}{path}"]


def test_each_role_is_offered_its_own(browser: Browser, signed: SignedInPacs, study: str) -> None:
    """The radiologist sends and downloads; the technician uploads and sees the stations; changing them is admin's."""
    for session, pages, actions in (
        ("radiologist", ["Estudios", "Lista de trabajo", "3D", "Estado", "Envíos"], 4),
        ("technician", ["Estudios", "Lista de trabajo", "Subir", "3D", "Estado", "Envíos", "AE"], 4),
        ("admin", EVERYTHING, 4),
    ):
        with opened(browser, signed, session, f"/pacs/studies/{study}") as (page, refused):
            expect(page.locator("nav.nav a")).to_have_text(pages)
            expect(page.locator(".study-head .actions > *")).to_have_count(actions)
            assert refused == []


@pytest.mark.usefixtures("study")
def test_explorer_serves_the_radiologist(browser: Browser, signed: SignedInPacs) -> None:
    """Orthanc Explorer lists and opens studies; what it offers beyond, Orthanc refuses."""
    with opened(browser, signed, "radiologist", "/app/explorer.html#find-studies") as (page, refused):
        page.wait_for_load_state("networkidle")
        assert [one for one in refused if "favicon" not in one] == []
    assert signed.ask("referring", "GET", "/app/explorer.html").status == 403
