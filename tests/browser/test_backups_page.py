"""The page of the backups in a real browser, at a desk and on a phone, in every language."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from fixtures.backup_states import REPORT, backups_of_a_hospital
from fixtures.browsers import chromium
from fixtures.page_checks import LOW_CONTRAST, NAMELESS, TOO_SMALL
from fixtures.running_pacs import RunningPacs, running

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return one browser for the module."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the state folder of a hospital's backups."""
    folder = tmp_path_factory.mktemp("backups") / "state"
    backups_of_a_hospital(folder)
    return folder


@pytest.fixture(scope="module")
def archive(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPacs]:
    """Run an archive that has these backups."""
    with running(tmp_path_factory.mktemp("pacs"), environment={"PACS_BACKUP_STATE": str(state)}) as started:
        yield started


def opened(browser: Browser, archive: RunningPacs, **options: object) -> Page:
    """Open the page."""
    context = browser.new_context(base_url=archive.url, **({"locale": "en-GB", "viewport": DESK} | options))  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/pacs/backups")
    return page


@pytest.mark.parametrize("language", ["en-GB", "es-PY", "pt-BR"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_page_fits_and_is_readable(
    browser: Browser, archive: RunningPacs, language: str, viewport: dict[str, int]
) -> None:
    """Nothing scrolls sideways, every text stands out, every control has a name and room for a finger."""
    page = opened(browser, archive, locale=language, viewport=viewport)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    if viewport is PHONE:
        assert page.evaluate(TOO_SMALL) == []
    page.context.close()


def test_report_is_opened_and_a_drill_asked_for(browser: Browser, archive: RunningPacs, state: Path) -> None:
    """From the list to the report; the button leaves a request and can't be pressed twice."""
    page = opened(browser, archive)
    expect(page.get_by_role("alert").first).to_contain_text("Somebody must look at 2 things.")
    answer = page.request.get(page.get_by_role("link", name="Report").first.get_attribute("href") or "")
    assert answer.text() == (state / "reports" / REPORT).read_text()
    page.get_by_role("button", name="Drill now").click()
    expect(page.locator(".notice.good")).to_contain_text("The drill is asked for.")
    assert json.loads((state / "requests" / "drill.json").read_text())["language"] == "en"
    expect(page.get_by_role("button", name="Drill now")).to_be_disabled()
    page.context.close()
