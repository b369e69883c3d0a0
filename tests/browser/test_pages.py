"""The pages in a real browser, on the real archive: as a person searches, opens, sends and looks at a phone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from fixtures.browsers import chromium
from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.page_checks import LOW_CONTRAST, NAMELESS, TOO_SMALL
from fixtures.running_pacs import RunningPacs

DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
OLD_STUDIES = (
    {"PatientName": "ÑANDUTÍ^Lourdes", "PatientID": "NAV-1", "Modality": "CT", "StudyDescription": "TC de tórax"},
    {"PatientName": "ÑANDUTÍ^Blas", "PatientID": "NAV-2", "Modality": "MR", "StudyDescription": "RM de rodilla"},
)
INDEX_SECONDS = 30.0
PATHS = (
    "/pacs/studies",
    "/pacs/studies?q=nobody-of-that-name",
    "/pacs/upload",
    "/pacs/aes",
    "/pacs/aes/new",
    "/pacs/system",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return one browser for the module."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def stored(pacs: RunningPacs) -> list[str]:
    """Store the studies, wait until the list has them, and return their StudyInstanceUIDs."""
    # Of the moment, not of the import: the suite may begin before midnight.
    of_today = {
        "PatientName": "OVELAR^Ana",
        "PatientID": "NAV-3",
        "Modality": "US",
        "StudyDate": f"{datetime.now(UTC):%Y%m%d}",
    }
    images = [dicom_image(**values) for values in (*OLD_STUDIES, of_today)]
    for image in images:
        pacs.archive.post_bytes("/instances", as_file(image))
    pacs.archive.put_json("/modalities/BROWSER", {"AET": "NOBODY", "Host": "127.0.0.1", "Port": 1})
    give_up_at = time.monotonic() + INDEX_SECONDS
    while pacs.archive.get_bytes("/pacs/studies?id=NAV-*").count(b'class="row-link"') < len(images):
        assert time.monotonic() < give_up_at, "the list does not show what was stored"
        time.sleep(0.3)
    return [str(image.StudyInstanceUID) for image in images]


@contextmanager
def opened(browser: Browser, pacs: RunningPacs, path: str, **options: object) -> Iterator[Page]:
    """Open a page; at the end no script may have failed and the content security policy not have been hurt."""
    settings = {"locale": "en-GB", "viewport": DESK} | options
    context = browser.new_context(base_url=pacs.url, **settings)  # type: ignore[arg-type]
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(path)
    yield page
    context.close()
    # An answer of 4xx is told by the browser too, and is no fault of the page.
    assert [fault for fault in faults if not fault.startswith("Failed to load resource")] == []


@pytest.fixture
def page(browser: Browser, pacs: RunningPacs, stored: list[str]) -> Iterator[Page]:
    """Return the Studies page at a desk, with studies in it."""
    assert stored
    with opened(browser, pacs, "/pacs/studies?id=NAV-*") as page:
        yield page


def test_search_follows_the_typing(page: Page) -> None:
    """Letters narrow the list at once, without accents too, and the address follows for sharing and going back."""
    expect(page.locator("#results .row-link")).to_have_count(3)
    page.get_by_role("searchbox").press_sequentially("nandu", delay=20)
    expect(page.locator("#results .row-link")).to_have_count(2)
    # Slow typing is searched for on its way, too.
    expect(page).to_have_url(re.compile(r"/pacs/studies\?q=nandu&id=NAV-%2A$"))
    page.get_by_label("MR", exact=True).check(force=True)
    expect(page.locator("#results .row-link")).to_have_text(["ÑANDUTÍ, Blas"])
    page.go_back()
    expect(page.locator("#results .row-link")).to_have_count(2)
    expect(page.get_by_role("searchbox")).to_have_value("nandu")
    page.reload()
    expect(page.locator("#results .row-link")).to_have_count(2)


def test_browser_keeps_nothing_of_the_patients(page: Page) -> None:
    """On a shared workstation no list stays behind: not in storage, not in the cache of going back."""
    page.get_by_role("searchbox").fill("nandu")
    expect(page.locator("#results .row-link")).to_have_count(2)
    page.locator("#results .row-link").first.click()
    page.go_back()
    expect(page.locator("#results .row-link")).to_have_count(2)
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_search_by_date_chip_and_by_dates(page: Page) -> None:
    """Today is one click; Dates… opens two fields."""
    page.get_by_label("Today").check(force=True)
    expect(page.locator("#results .row-link")).to_have_text(["OVELAR, Ana"])
    page.get_by_label("Dates…").check(force=True)
    page.get_by_label("From").fill("2026-03-10")
    page.get_by_label("To", exact=True).fill("2026-03-10")
    expect(page.locator("#results .row-link")).to_have_count(2)


def test_search_that_finds_nothing_can_be_cleared(page: Page) -> None:
    """The way out of an empty result is a button."""
    page.get_by_role("searchbox").fill("nobody of that name")
    expect(page.get_by_role("heading", name="No study matches")).to_be_visible()
    page.get_by_role("link", name="Clear the search").click()
    expect(page.locator("#results .row-link").first).to_be_visible()


def test_list_is_used_with_the_keyboard_alone(page: Page) -> None:
    """Slash searches, j, k and arrows move, Enter opens, ? tells the keys, Escape closes."""
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("ovelar")
    expect(page.locator("#results .row-link")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#results .row-link").first).to_be_focused()
    page.keyboard.press("k")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("OVELAR, Ana")


def test_first_tab_leads_past_the_navigation(page: Page) -> None:
    """The skip link comes first, shows itself, and puts the focus into the content."""
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_study_page_shows_pictures_and_links(page: Page, stored: list[str], pacs: RunningPacs) -> None:
    """The thumbnail is drawn, not broken; each way to open names the study."""
    page.get_by_role("link", name="ÑANDUTÍ, Lourdes").click()
    picture = page.locator(".card img")
    expect(picture).to_have_js_property("complete", value=True)
    assert picture.evaluate("picture => picture.naturalWidth") > 100
    assert stored[0] in str(page.get_by_role("link", name="Open in OHIF").get_attribute("href"))
    assert str(page.get_by_role("link", name="Weasis").get_attribute("href")).startswith("weasis://%24dicom%3Ars")
    page.get_by_text("Download", exact=True).click()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="DICOM files").click()
    assert re.fullmatch(r"CT_2026-03-10_[0-9a-f]{8}\.zip", waiting.value.suggested_filename)
    assert waiting.value.path().read_bytes()[:2] == b"PK"
    assert pacs.archive.get_json("/system")


def test_study_is_sent_and_the_outcome_told(page: Page) -> None:
    """Sending to a node that does not listen ends in words that help."""
    page.get_by_role("link", name="OVELAR, Ana").click()
    page.get_by_text("Send", exact=True).first.click()
    page.get_by_label("Send the study to").select_option("BROWSER")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#sending .notice.bad")).to_contain_text("nothing listens on that port", timeout=20_000)


def test_node_is_added_verified_and_removed(page: Page) -> None:
    """The whole life of an AE by its page, faults shown at their fields."""
    page.goto("/pacs/aes/new")
    page.locator("input[name=name]").fill("TEST-NODE")
    page.get_by_label("AE title").first.fill("A\\B")
    page.get_by_label("Host").fill("127.0.0.1")
    page.get_by_role("spinbutton", name="Port").fill("1")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#ae_title-fault")).to_be_visible()
    page.get_by_label("AE title").first.fill("TEST")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".notice.good")).to_contain_text("TEST-NODE is saved")
    row = page.locator("#ae-TEST-NODE")
    row.get_by_role("button", name="C-ECHO").click()
    expect(page.locator("#echo-TEST-NODE")).to_contain_text("nothing listens on that port", timeout=20_000)
    row.get_by_role("link", name="Remove TEST-NODE").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#ae-TEST-NODE")).to_have_count(0)


def test_file_dropped_on_the_list_is_stored_and_shown(page: Page) -> None:
    """Anywhere on Studies is a drop zone; the list renews itself."""
    content = as_file(dicom_image(PatientName="SOLTADO^Uno", PatientID="NAV-9")).hex()
    page.evaluate(
        """(hex) => {
          const bytes = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], "dropped.dcm"));
          for (const kind of ["dragenter", "dragover", "drop"]) {
            const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
            document.querySelector("main").dispatchEvent(event);
          }
        }""",
        content,
    )
    expect(page.locator("#upload-panel")).to_contain_text("SOLTADO, Uno", timeout=20_000)
    expect(page.locator("#drop-veil")).to_be_hidden()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("language", ["en-GB", "es-PY", "pt-BR"])
def test_phone_never_scrolls_sideways(
    browser: Browser, pacs: RunningPacs, stored: list[str], path: str, language: str
) -> None:
    """At 390 pixels every page fits in every language, and what is tapped is large enough for a finger."""
    assert stored
    with opened(browser, pacs, path, viewport=PHONE, locale=language) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.evaluate(TOO_SMALL) == []


@pytest.mark.parametrize("path", [*PATHS, "study"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable_and_named(
    browser: Browser, pacs: RunningPacs, stored: list[str], path: str, scheme: str
) -> None:
    """Contrast of 4.5 to 1 for every text (WCAG AA), a name for every control, one main heading, no empty link."""
    address = f"/pacs/studies/{stored[0]}" if path == "study" else path
    with opened(browser, pacs, address, color_scheme=scheme) as page:
        assert page.evaluate(LOW_CONTRAST) == []
        assert page.evaluate(NAMELESS) == []
        expect(page.get_by_role("heading", level=1)).to_have_count(1)


def test_pages_work_without_javascript(browser: Browser, pacs: RunningPacs, stored: list[str]) -> None:
    """Search, open, language and theme are plain forms and links."""
    assert stored
    with opened(browser, pacs, "/pacs/studies", java_script_enabled=False) as page:
        page.get_by_role("searchbox").fill("NAV-3")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name="OVELAR, Ana").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("OVELAR, Ana")
        page.locator(".preferences summary").click()
        page.get_by_role("button", name="Español").click()
        expect(page.get_by_role("link", name="Abrir en OHIF")).to_be_visible()
        page.locator(".preferences summary").click()
        page.get_by_role("button", name="Oscura").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
