"""The search form of the Studies page."""

from __future__ import annotations

from datetime import date

import pytest
from werkzeug.datastructures import MultiDict

from pacs.web.study_form import Period, StudyForm

TODAY = date(2026, 3, 1)


def read(*pairs: tuple[str, str]) -> StudyForm:
    """Read a query string."""
    return StudyForm.read(MultiDict(pairs))


@pytest.mark.parametrize(
    ("pairs", "dates"),
    [
        ([], (None, None)),
        ([("period", "today")], (TODAY, TODAY)),
        ([("period", "yesterday")], (date(2026, 2, 28), date(2026, 2, 28))),
        ([("period", "7d")], (date(2026, 2, 23), TODAY)),
        ([("period", "30d")], (date(2026, 1, 31), TODAY)),
        ([("period", "dates"), ("from", "2026-01-02")], (date(2026, 1, 2), None)),
        ([("from", "2026-01-02"), ("to", "2026-01-05")], (date(2026, 1, 2), date(2026, 1, 5))),
        ([("from", "2026-01-05"), ("to", "2026-01-02")], (date(2026, 1, 2), date(2026, 1, 5))),
        ([("period", "today"), ("from", "2020-01-01")], (TODAY, TODAY)),
        ([("period", "nonsense"), ("to", "never")], (None, None)),
    ],
)
def test_form_gives_the_days_searched(pairs: list[tuple[str, str]], dates: tuple[date | None, date | None]) -> None:
    """Presets count from today, an open end stays open, and turned-around dates are turned back."""
    assert read(*pairs).dates(TODAY) == dates


@pytest.mark.parametrize(
    ("page", "number"), [("", 1), ("0", 1), ("-3", 1), ("x", 1), ("²", 1), ("7", 7), ("9" * 30, 100_000)]
)
def test_form_takes_no_page_that_is_none(page: str, number: int) -> None:
    """Any text as page number is survived."""
    assert read(("page", page)).page == number


def test_form_repeats_itself_as_parameters() -> None:
    """Reading what was written gives the same form, and empty fields leave no trace in the address."""
    form = read(("q", " perez "), ("modality", "MR"), ("modality", "CT"), ("from", "2026-01-02"), ("page", "3"))
    parameters = form.parameters(3)
    assert parameters == {"q": "perez", "period": "dates", "from": "2026-01-02", "modality": ["CT", "MR"], "page": "3"}
    assert StudyForm.read(MultiDict(parameters)) == form
    assert "page" not in form.parameters()


def test_form_ignores_what_is_no_modality() -> None:
    """Only words that can be a modality reach the search."""
    assert read(("modality", "CT"), ("modality", "<b>"), ("modality", "")).modalities == ("CT",)


def test_form_knows_when_nothing_narrows_the_search() -> None:
    """The empty archive and the empty result have different advice."""
    assert read(("page", "2"), ("q", "  ")).is_empty
    assert not read(("period", "today")).is_empty
    assert read(("period", "7d")).period is Period.WEEK


def test_form_cuts_endless_texts() -> None:
    """Nobody makes the database compare a book."""
    assert len(read(("q", "x" * 10_000)).q) == 128
