"""Worklist, HL7 journal, mapping tester and rehearsal in a real browser on the archive, at a desk and on a phone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, Page, expect

from fixtures.browsers import chromium
from fixtures.mllp import order, sender
from fixtures.page_checks import LOW_CONTRAST, NAMELESS, OUT_OF_SIGHT, TOO_SMALL
from fixtures.running_pacs import RunningPacs
from fixtures.stations import register, wait_for_port
from fixtures.worklist_entries import database_of, enter, entry

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
LONG_NUMBER = "ACCESSION-TOO-LONG-1"
SECONDS = 30.0


@dataclass(frozen=True)
class Stored:
    """Addresses of what there is to look at."""

    step: str
    dead: str
    done: str

    def paths(self) -> dict[str, str]:
        """Return every page."""
        return {
            "worklist": "/pacs/worklist?q=HP-",
            "no worklist": "/pacs/worklist?day=2031-01-01",
            "step": self.step,
            "new step": "/pacs/worklist/new",
            "edit step": f"{self.step}/edit",
            "cancel step": f"{self.step}/cancel",
            "journal": "/pacs/hl7?q=HP-",
            "no message": "/pacs/hl7?q=nobody-of-that-name",
            "journal by time": "/pacs/hl7?period=dates&from=2020-01-01T00:00",
            "dead letter": self.dead,
            "message": self.done,
            "correct": f"{self.dead}/edit",
            "skip": f"{self.dead}/skip",
            "mapping": "/pacs/hl7/mapping",
            "mapping of a message": f"/pacs/hl7/mapping?message={self.done.rpartition('/')[2]}",
            "rehearsal": "/pacs/hl7/rehearsal",
        }


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return one browser for the module."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def stored(pacs: RunningPacs) -> Stored:
    """Enter steps, send messages of which one becomes a dead letter, and return where they are."""
    wait_for_port(pacs.hl7_port)
    register(pacs, "CT_HP", 104)
    # Of the moment, not of the import: the suite may begin before midnight.
    today = f"{datetime.now(UTC).astimezone():%Y%m%d}"
    attributes = {"ScheduledProcedureStepStartDate": today, "ScheduledProcedureStepLocation": "Sala HP"}
    with database_of(pacs.data_directory) as database:
        enter(
            database,
            entry(AccessionNumber="HP-1", PatientID="HP-1", PatientName="ÑANDUTÍ^Lourdes", **attributes),
            entry(AccessionNumber="HP-2", PatientID="HP-2", PatientName="OVELAR^Ana", Modality="MR", **attributes),
        )
    with sender(pacs.hl7_port) as his:
        his.send(order("HPMSG1", patient_id="HP-7", accession="HP-7"))
        raw = order("HPMSG2", patient_id="HP-8", accession="HP-8")
        his.send(raw.replace(b"|HP-8|RPHP-8|", f"|{LONG_NUMBER}|RPHP-8|".encode()))
    return Stored(
        found(pacs, "/pacs/worklist?q=HP-1", "worklist/steps"),
        found(pacs, "/pacs/hl7?q=HPMSG2&state=failed", "hl7/messages"),
        found(pacs, "/pacs/hl7?q=HPMSG1&state=done", "hl7/messages"),
    )


def found(pacs: RunningPacs, path: str, kind: str) -> str:
    """Return the first address of its kind on a page, as soon as it is there."""
    give_up_at = time.monotonic() + SECONDS
    while not (
        match := re.search(rf'class="row-link" href="(/pacs/{kind}/\d+)"', pacs.archive.get_bytes(path).decode())
    ):
        assert time.monotonic() < give_up_at, f"nothing at {path}"
        time.sleep(0.1)
    return match[1]


@contextmanager
def opened(browser: Browser, pacs: RunningPacs, path: str, **options: object) -> Iterator[Page]:
    """Open a page; at the end nothing may stand in the console, and the content security policy not have been hurt."""
    settings = {"locale": "en-GB", "viewport": DESK} | options
    context = browser.new_context(base_url=pacs.url, **settings)  # type: ignore[arg-type]
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("requestfailed", lambda request: faults.append(f"{request.url}: {request.failure}"))
    page.goto(path)
    yield page
    page.wait_for_load_state("networkidle")
    context.close()
    # What a page that is left behind still asked for is broken off, and a refused form is told by the browser too.
    assert [fault for fault in faults if "ERR_ABORTED" not in fault and "422" not in fault] == []


# -- every page ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en-GB", "es-PY", "pt-BR"])
def test_phone_never_scrolls_sideways(browser: Browser, pacs: RunningPacs, stored: Stored, language: str) -> None:
    """At 390 pixels every page fits in every language, and what is tapped is large enough for a finger."""
    with opened(browser, pacs, "/pacs/worklist", viewport=PHONE, locale=language) as page:
        for name, path in stored.paths().items():
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
            assert page.evaluate(TOO_SMALL) == [], name
            assert page.evaluate(OUT_OF_SIGHT) == [], name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_readable_and_named(browser: Browser, pacs: RunningPacs, stored: Stored, scheme: str) -> None:
    """Contrast of 4.5 to 1 for every text (WCAG AA), a name for every control, one main heading."""
    with opened(browser, pacs, "/pacs/worklist", color_scheme=scheme) as page:
        for name, path in stored.paths().items():
            page.goto(path)
            assert page.evaluate(LOW_CONTRAST) == [], name
            assert page.evaluate(NAMELESS) == [], name
            assert page.get_by_role("heading", level=1).count() == 1, name
            assert page.evaluate("document.documentElement.scrollWidth") <= DESK["width"], name


# -- worklist ------------------------------------------------------------------------------------------------------


def test_worklist_follows_the_typing_and_the_chips(browser: Browser, pacs: RunningPacs, stored: Stored) -> None:
    """Letters and chips narrow the day at once, and the address follows."""
    assert stored
    with opened(browser, pacs, "/pacs/worklist") as page:
        page.keyboard.press("/")
        page.keyboard.type("hp-")
        expect(page.locator("#results .row-link")).to_have_count(2)
        page.get_by_label("MR", exact=True).check(force=True)
        expect(page.locator("#results .row-link")).to_have_text(["OVELAR, Ana"])
        expect(page).to_have_url(re.compile(r"/pacs/worklist\?q=hp-&modality=MR$"))
        page.keyboard.press("Escape")
        page.locator("body").click(position={"x": 640, "y": 880})
        page.keyboard.press("]")
        expect(page.get_by_role("heading", name="No entry matches")).to_be_visible()


def test_entry_is_added_changed_and_canceled_by_hand(browser: Browser, pacs: RunningPacs, stored: Stored) -> None:
    """The whole life of an entry by its pages; a mistake is shown at its field."""
    assert stored
    with opened(browser, pacs, "/pacs/worklist") as page:
        page.get_by_role("link", name="Add an entry").first.click()
        page.get_by_label("Family name", exact=True).fill("MANUAL")
        page.get_by_label("Patient ID", exact=True).fill("HM-1")
        page.get_by_label("Time", exact=True).fill("10:15")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#modality-fault")).to_be_visible()
        page.locator("input[name=modality]").fill("us")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".notice.good")).to_contain_text("added")
        page.get_by_role("link", name="Edit", exact=True).click()
        page.get_by_label("Room", exact=True).fill("Eco 9")
        page.get_by_role("button", name="Save").click()
        expect(page.locator(".facts")).to_contain_text("Eco 9")
        page.locator("summary", has_text="Status").click()
        page.get_by_role("button", name="Arrived").click()
        expect(page.locator(".events")).to_contain_text("Scheduled → Arrived")
        page.get_by_role("link", name="Cancel the entry").click()
        page.get_by_label("Reason").fill("Prueba")
        page.get_by_role("button", name="Cancel the entry").click()
        expect(page.locator(".lead .tag")).to_have_text("Canceled")
        expect(page.locator(".events > li")).to_have_count(4)


def test_worklist_is_printed_without_the_shell(browser: Browser, pacs: RunningPacs, stored: Stored) -> None:
    """On paper stands the day with its entries, and nothing to click."""
    assert stored
    with opened(browser, pacs, "/pacs/worklist?q=HP-") as page:
        expect(page.get_by_role("button", name="Print")).to_be_visible()
        page.emulate_media(media="print")
        expect(page.get_by_text("ÑANDUTÍ")).to_be_visible()
        for hidden in (".nav", ".search", ".day-pager", ".actions"):
            expect(page.locator(hidden).first).to_be_hidden()


# -- HL7 -----------------------------------------------------------------------------------------------------------


def test_dead_letter_is_found_corrected_and_becomes_an_entry(
    browser: Browser, pacs: RunningPacs, stored: Stored
) -> None:
    """From the journal to the field at fault, its correction, and the entry that the message becomes."""
    assert stored
    with sender(pacs.hl7_port) as his:
        raw = order("HPMSG3", patient_id="HP-9", accession="HP-9")
        his.send(raw.replace(b"|HP-9|RPHP-9|", f"|{LONG_NUMBER}|RPHP-9|".encode()))
    found(pacs, "/pacs/hl7?q=HPMSG3&state=failed", "hl7/messages")
    with opened(browser, pacs, "/pacs/hl7") as page:
        page.get_by_label("Dead letters").check(force=True)
        page.get_by_role("searchbox").fill("HPMSG3")
        expect(page.locator("#results .row-link")).to_have_count(1)
        page.locator("#results .row-link").click()
        expect(page.locator("pre .faulty")).to_have_text(LONG_NUMBER)
        page.get_by_role("link", name="OBR-18").first.click()
        expect(page.locator("tr#faulty")).to_be_in_viewport()
        page.get_by_role("link", name="Correct").click()
        expect(page.get_by_label("Place", exact=False).first).to_have_value("OBR-18")
        page.get_by_label("Value", exact=False).fill("HP-9")
        page.get_by_role("button", name="Correct and replay").first.click()
        expect(page.locator(".notice.good")).to_contain_text("corrected message")
        expect(page.locator(".changes")).to_contain_text(LONG_NUMBER)
        reload_until(page, lambda: page.get_by_role("link", name="Worklist entry HP-9").count() > 0)
        page.get_by_role("link", name="Worklist entry HP-9").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("PRUEBA, ANA MARIA")


def test_pasted_message_shows_what_it_would_become(browser: Browser, pacs: RunningPacs) -> None:
    """The answer comes without leaving the page, for a good message and for a bad one."""
    with opened(browser, pacs, "/pacs/hl7/mapping") as page:
        box = page.get_by_label("Message", exact=True)
        box.fill(order("HPTRY", accession="HP-TRY").decode("latin-1").replace("\r", "\n"))
        page.get_by_role("button", name="Show what it becomes").click()
        expect(page.locator("#trial")).to_contain_text("It would be accepted (AA)")
        expect(page.locator("#trial tr", has_text="Accession Number").first).to_contain_text("OBR-18")
        box.fill("not a message")
        page.get_by_role("button", name="Show what it becomes").click()
        expect(page.locator("#trial [role=alert]")).to_contain_text("It would not be accepted (AR)")
    assert b"row-link" not in pacs.archive.get_bytes("/pacs/hl7?q=HPTRY")


def test_rehearsal_fills_its_sheet_while_one_looks(browser: Browser, pacs: RunningPacs, stored: Stored) -> None:
    """Chosen, started, followed to its end; the sheet has the lines to sign."""
    assert stored
    with opened(browser, pacs, "/pacs/hl7/rehearsal") as page:
        for box in page.get_by_role("checkbox").all():
            box.set_checked(box.get_attribute("value") == "CT_HP")
        page.get_by_role("button", name="Rehearse").click()
        expect(page.locator(".lead .tag")).to_have_text("Passed", timeout=60_000)
        expect(page.locator('.checklist [data-outcome="passed"]')).to_have_count(9)
        expect(page.locator('.checklist [data-outcome="not tested"]')).to_contain_text(
            "The hospital's systems are told"
        )
        expect(page.locator(".signature dt")).to_have_text(["Place and date", "Name", "Signature"])
        assert page.evaluate(LOW_CONTRAST) == []
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_pages_work_without_javascript(browser: Browser, pacs: RunningPacs, stored: Stored) -> None:
    """Search, status and the mapping tester are plain forms and links."""
    assert stored
    with opened(browser, pacs, "/pacs/worklist", java_script_enabled=False) as page:
        page.get_by_role("searchbox").fill("HP-2")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name="OVELAR, Ana").click()
        page.locator("summary", has_text="Status").click()
        page.get_by_role("button", name="Ready").click()
        expect(page.locator(".lead .tag")).to_have_text("Ready")
        page.goto("/pacs/hl7/mapping")
        page.get_by_label("Message", exact=True).fill("nothing")
        page.get_by_role("button", name="Show what it becomes").click()
        expect(page.locator("#trial")).to_contain_text("would not be accepted")


def reload_until(page: Page, is_there: object) -> None:
    """Load a page again until something is there."""
    assert callable(is_there)
    give_up_at = time.monotonic() + SECONDS
    while not is_there():
        assert time.monotonic() < give_up_at
        page.reload()
