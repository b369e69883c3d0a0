"""The Status page in a real browser, at a desk and on a phone, in every language, well and unwell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from fixtures.backup_states import backups_of_a_hospital
from fixtures.browsers import chromium
from fixtures.monitored_hospital import golden_runs, half_a_year, served
from fixtures.monitoring_content import MONITORING
from fixtures.page_checks import LOW_CONTRAST, NAMELESS, TOO_SMALL
from fixtures.pages import pages

DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
ZONE = ZoneInfo("America/Asuncion")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return one browser for the module."""
    with chromium() as started:
        yield started


@contextmanager
def hospital(folder: Path, *, is_well: bool) -> Iterator[str]:
    """Serve the pages of a hospital of half a year in which all is well, or much is not; give the address."""
    if not is_well:
        backups_of_a_hospital(folder / "backups")
    settings = {"GoldenSignal": {"EveryMinutes": 5}, "RunbookFolder": MONITORING / "runbooks"}
    with pages(folder, monitoring=settings, TimeZone=str(ZONE)) as made:
        now = datetime.now(UTC)
        if is_well:
            made.archive.answers["/modalities?expand"] = {}
        else:
            half_a_year(made, now, ZONE)
        golden_runs(made.database, now - timedelta(minutes=1), 30, failed=frozenset(() if is_well else (28, 29)))
        (folder / "reports").mkdir()
        for name in ("report-2026-09-es.pdf", "report-2026-10-es.pdf", "report-2026-10-es.html"):
            (folder / "reports" / name).write_bytes(b"%PDF-")
        made.services.monitoring.figures.gather()
        with served(made.app) as address:
            yield address


@pytest.fixture(scope="module")
def unwell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a hospital in which much is wrong."""
    with hospital(tmp_path_factory.mktemp("unwell"), is_well=False) as address:
        yield address


@pytest.fixture(scope="module")
def well(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a hospital in which all is well."""
    with hospital(tmp_path_factory.mktemp("well"), is_well=True) as address:
        yield address


def opened(browser: Browser, address: str, **options: object) -> Page:
    """Open the page."""
    context = browser.new_context(base_url=address, **({"locale": "en-GB", "viewport": DESK} | options))  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/pacs/status")
    return page


@pytest.mark.parametrize("language", ["en-GB", "es-PY", "pt-BR"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_and_is_readable(
    browser: Browser, unwell: str, language: str, viewport: dict[str, int], scheme: str
) -> None:
    """Nothing scrolls sideways, every text stands out, every control has a name and room for a finger."""
    page = opened(browser, unwell, locale=language, viewport=viewport, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    if viewport is PHONE:
        assert page.evaluate(TOO_SMALL) == []
    page.context.close()


def test_worst_is_what_the_eye_meets_first(browser: Browser, unwell: str) -> None:
    """The verdict and what is wrong stand above the figures, on a phone's first screen too."""
    page = opened(browser, unwell, viewport=PHONE)
    expect(page.locator(".verdict h2")).to_contain_text("things need somebody")
    first = page.locator(".findings li").first
    expect(first).to_contain_text("The test study did not get through")
    box = first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < PHONE["height"] / 2
    page.context.close()


@pytest.mark.parametrize("language", ["en-GB", "es-PY", "pt-BR"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_to_do_fits_and_is_readable(
    browser: Browser, unwell: str, language: str, viewport: dict[str, int], scheme: str
) -> None:
    """From the worst finding a link leads to its steps, which fit on a phone with their commands."""
    page = opened(browser, unwell, locale=language, viewport=viewport, color_scheme=scheme)
    page.locator(".findings a.what-to-do").first.click()
    expect(page.locator(".steps > li")).not_to_have_count(0)
    page.goto("/pacs/status/runbooks/DatabaseLogNotKept")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    page.context.close()


def test_charts_are_drawn(browser: Browser, unwell: str) -> None:
    """Bars are as high as their figures: days without studies are a line, failed signals are red and whole."""
    page = opened(browser, unwell)
    ultrasound = page.locator(".stations-list tr", has_text="Ecógrafo 2").locator("rect")
    heights = [float(one.get_attribute("height") or 0) for one in ultrasound.all()]
    assert len(heights) == 14
    assert max(heights) > 30
    assert heights.count(1.0) >= 3
    assert page.locator("[aria-labelledby=tile-signal] rect.bad").count() == 2
    page.context.close()


def test_page_is_green_without_a_word_of_trouble(browser: Browser, well: str) -> None:
    """All is well: one green sentence, no list of faults."""
    page = opened(browser, well, locale="es-PY")
    expect(page.locator(".verdict h2")).to_have_text("Todo está bien.")
    assert page.locator(".findings").count() == 0
    page.context.close()


def test_report_is_ordered_and_taken(browser: Browser, well: str) -> None:
    """The month that is over is proposed; past reports are taken away as files."""
    page = opened(browser, well)
    with page.expect_download() as download:
        page.get_by_role("link", name="PDF").first.click()
    assert download.value.suggested_filename == "report-2026-10-es.pdf"
    page.get_by_role("button", name="Make the report").click()
    expect(page.locator(".notice.good")).to_contain_text("The report is being made.")
    page.context.close()
