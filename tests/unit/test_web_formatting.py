"""How values look on the pages."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from flask import g

from fixtures.pages import pages
from pacs.web import formatting
from pacs.web.language import LOCALES, Language, load_catalog


@pytest.fixture
def speak(tmp_path: Path) -> Iterator[object]:
    """Return a function that sets the language of a request."""
    with pages(tmp_path) as made, made.app.test_request_context():

        def choose(code: str) -> None:
            g.language = Language(code, LOCALES[code], load_catalog(code), UTC)

        choose("en")
        yield choose


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("PÉREZ^Juan", "PÉREZ, Juan"),
        ("Pérez González^María^José", "PÉREZ GONZÁLEZ, María José"),
        ("AQUINO^Estela^^Dra.", "AQUINO, Dra. Estela"),
        ("SMITH^John^^^Jr", "SMITH, John Jr"),
        ("Anonymous", "Anonymous"),
        ("^Juan", "Juan"),
        ("", ""),
        (None, ""),
        ("^^^^", ""),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "YAMADA, Tarou (山田 太郎)"),
        ("=山田^太郎", "山田, 太郎"),
        ("A^B^C^D^E^F^G", "A, D B C E"),
    ],
)
def test_person_name_is_shown_family_first(value: str | None, shown: str) -> None:
    """Names stand as PACS lists show them, whatever parts they lack."""
    assert str(formatting.person_name(value)) == shown


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("20260310", date(2026, 3, 10)),
        ("2026.03.10", date(2026, 3, 10)),
        (" 20260310 ", date(2026, 3, 10)),
        ("20261310", None),
        ("2026", None),
        ("", None),
        (None, None),
        ("yesterday", None),
    ],
)
def test_dicom_date_reads_what_is_a_date(value: str | None, day: date | None) -> None:
    """Dates are read, and what is none is told apart."""
    assert formatting.dicom_date(value) == day


@pytest.mark.parametrize(
    ("value", "shown"),
    [("101530.123", "10:15"), ("1015", "10:15"), ("10", "10:00"), ("235960", "23:59"), ("", ""), ("xx", "xx")],
)
def test_time_is_shown_by_the_24_hour_clock(value: str, shown: str) -> None:
    """Times are cut to the minute; what is none stands as it is."""
    assert formatting.show_time(value) == shown


@pytest.mark.parametrize(("code", "shown"), [("en", "04 Mar 2026"), ("es", "04/03/2026"), ("pt", "04/03/2026")])
def test_date_is_taken_for_no_other_day(speak: object, code: str, shown: str) -> None:
    """Each language writes dates as its readers read them: an English month is a word."""
    speak(code)  # type: ignore[operator]
    assert formatting.show_date("20260304") == shown


@pytest.mark.usefixtures("speak")
def test_date_shows_what_is_none_as_it_stands() -> None:
    """A date that can't be read is not hidden."""
    assert formatting.show_date("2026") == "2026"


@pytest.mark.parametrize(
    ("birth", "at", "shown"),
    [
        ("19800214", "20260213", "45 yrs"),
        ("19800214", "20260214", "46 yrs"),
        ("20240301", "20260301", "2 yrs"),
        ("20240301", "20260228", "23 mths"),
        ("20260301", "20260331", "30 days"),
        ("20260301", "20260401", "1 mth"),
        ("20260301", "20260301", "0 days"),
        ("20260302", "20260301", ""),
        ("", "20260301", ""),
        ("19800214", "", ""),
    ],
)
@pytest.mark.usefixtures("speak")
def test_age_is_that_on_the_day_of_the_study(birth: str, at: str, shown: str) -> None:
    """Years for the grown, months and days for the small, nothing where it can't be known."""
    assert formatting.show_age(birth, at) == shown


@pytest.mark.parametrize(
    ("code", "size", "shown"),
    [
        ("en", 0, "0 byte"),
        ("en", 999, "999 byte"),
        ("en", 1000, "1 kB"),
        ("en", 77_450_000, "77.4 MB"),
        ("es", 77_450_000, "77,4 MB"),
        ("en", 999_999_999, "1 GB"),
        ("en", 123_400_000_000, "123 GB"),
        ("pt", 2_500_000_000_000, "2,5 TB"),
    ],
)
def test_size_has_three_digits_and_a_unit(speak: object, code: str, size: int, shown: str) -> None:
    """Sizes are read at a glance, with the language's decimal sign."""
    speak(code)  # type: ignore[operator]
    assert formatting.show_size(size) == shown


def test_moment_is_shown_in_the_hospitals_time_zone(tmp_path: Path) -> None:
    """UTC inside, local time on the page."""
    with pages(tmp_path, TimeZone="America/Asuncion") as made, made.app.test_request_context():
        made.app.preprocess_request()
        assert formatting.show_moment(datetime(2026, 7, 1, 2, 30, tzinfo=UTC)).endswith("30/06/2026 23:30:00")
