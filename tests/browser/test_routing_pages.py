"""The routing pages in a real browser, at a desk and on a phone, in every language."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from fixtures.browsers import chromium
from fixtures.page_checks import LOW_CONTRAST, NAMELESS, OUT_OF_SIGHT, TOO_SMALL
from fixtures.routed_studies import RULES, store_deliveries, write_routing
from fixtures.running_pacs import RunningPacs, running
from fixtures.study_rows import store_rows, study_row
from fixtures.worklist_entries import database_of
from pacs.database import Database
from pacs.studies.models import StudyRecord

DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
NEW_RULES = RULES.replace("at least 16", "at least 18")
COMPARED_SECONDS = 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return one browser for the module."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPacs]:
    """Run an archive with rules, targets, and deliveries in every state."""
    data = tmp_path_factory.mktemp("pacs")
    write_routing(data / "plugins" / "routing")
    with database_of(data) as database:
        database.migrate()
        # Orthanc has none of these studies: when the archive has started it takes them from its index, once.
        store_rows(database, study_row())
        with running(data) as started:
            wait_until_compared(database)
            started.studies = store_deliveries(database)  # type: ignore[attr-defined]  # for the addresses below
            yield started


def wait_until_compared(database: Database) -> None:
    """Wait until the archive has compared its index with Orthanc, and taken out what was there before."""
    give_up_at = time.monotonic() + COMPARED_SECONDS
    while True:
        with database.session() as session:
            if session.scalars(select(StudyRecord.id)).first() is None:
                return
        assert time.monotonic() < give_up_at, "the index was not compared with Orthanc"
        time.sleep(0.1)


def opened(browser: Browser, archive: RunningPacs, address: str, **options: object) -> Page:
    """Open a page."""
    context = browser.new_context(base_url=archive.url, **({"locale": "en-GB", "viewport": DESK} | options))  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"/pacs/routing{address}")
    return page


def looked_at(page: Page, name: str) -> None:
    """Keep a picture where somebody wants to look: PACS_TEST_PICTURES names the folder."""
    if folder := os.environ.get("PACS_TEST_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


ADDRESSES = {
    "ledger": "",
    "delivery": "/deliveries/4",
    "journey": "/studies/{study}",
    "readers": "/readers?target=university",
    "rules": "/rules",
    "edit": "/rules/edit",
    "version": "/rules/versions/1",
    "tester": "/test",
    "targets": "/targets",
}


@pytest.mark.parametrize("language", ["en-GB", "es-PY", "pt-BR"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", ADDRESSES)
def test_page_fits_and_is_readable(
    browser: Browser, archive: RunningPacs, language: str, viewport: dict[str, int], name: str
) -> None:
    """Nothing scrolls sideways, every text stands out, every control has a name and room for a finger."""
    address = ADDRESSES[name].format(study=archive.studies[0])  # type: ignore[attr-defined]
    page = opened(browser, archive, address, locale=language, viewport=viewport)
    looked_at(page, f"{name}-{language}-{viewport['width']}")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate(NAMELESS) == []
    if viewport is PHONE:
        assert page.evaluate(TOO_SMALL) == []
        assert page.evaluate(OUT_OF_SIGHT) == []
    page.context.close()


def test_rules_are_checked_tried_and_put_in_force(browser: Browser, archive: RunningPacs) -> None:
    """A mistake is told beside the form; the dry run shows the difference; one button puts it in force."""
    page = opened(browser, archive, "/rules/edit")
    page.get_by_label("rules.yaml").fill(NEW_RULES.replace("Modality", "Modalty"))
    page.get_by_role("button", name="Look for mistakes").click()
    expect(page.get_by_role("alert")).to_contain_text('did you mean "Modality"')
    looked_at(page, "check-en-GB-1440")
    page.get_by_label("rules.yaml").fill(NEW_RULES)
    page.get_by_role("button", name="Try on real studies").click()
    expect(page.get_by_role("heading", name="Studies by target")).to_be_visible()
    looked_at(page, "dry-run-en-GB-1440")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    looked_at(page, "dry-run-en-GB-390")
    page.get_by_label("Reason").fill("adults only")
    page.get_by_role("button", name="Put in force").click()
    expect(page.locator(".notice.good")).to_contain_text("Version 2 is in force.")
    page.get_by_role("link", name="2", exact=True).click()
    expect(page.locator(".diff")).to_contain_text("age_years: at least 18")
    page.context.close()


def test_ledger_is_narrowed_and_a_dead_letter_set_aside(browser: Browser, archive: RunningPacs) -> None:
    """One click shows the dead letters, the next the words of the target, the third sets it aside."""
    page = opened(browser, archive, "")
    page.get_by_role("radio", name="Dead letters").check()
    expect(page.locator(".ledger tbody tr")).to_have_count(1)
    page.get_by_role("link", name="BENÍTEZ").click()
    expect(page.get_by_text("Data set does not match SOP class").first).to_be_visible()
    page.get_by_role("button", name="Put aside").click()
    expect(page.locator(".notice.good")).to_contain_text("It is set aside.")
    page.context.close()


def test_target_that_is_not_there_says_why(browser: Browser, archive: RunningPacs) -> None:
    """The try of a target tells its outcome in its row."""
    page = opened(browser, archive, "/targets")
    page.get_by_role("row", name="night-reader").get_by_role("button", name="Test").click()
    expect(page.locator(".outcome.bad")).to_be_visible(timeout=30_000)
    looked_at(page, "targets-tried-en-GB-1440")
    page.context.close()
