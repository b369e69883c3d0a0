"""The monthly report: figures of a simulated year equal those counted apart; the files are whole; it is found again."""

from __future__ import annotations

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from fixtures.pages import Pages, pages
from fixtures.simulated_year import INTERVAL_SECONDS, YEAR, ZONE, Study, Year, simulate, write
from pacs.database import Database
from pacs.errors import InvalidInput, NotFound
from pacs.monitoring.report.counting import count, modality_of, spread
from pacs.monitoring.report.month import Month, Report, Spread
from pacs.monitoring.report.reports import ReportFailed
from pacs.monitoring.report.writing import html
from pacs.monitoring.settings import ReferenceLevel
from pacs.web.settings import WebSettings

NOW = datetime(YEAR + 1, 3, 1, tzinfo=UTC)
LEVELS = (
    ReferenceLevel.model_validate(
        {"Modality": "CT", "Protocol": "cr[aá]neo", "Name": "Cabeza", "CtdiVolMgy": 1, "DlpMgyCm": 99_999}
    ),
    ReferenceLevel.model_validate({"Modality": "MG", "Protocol": ".", "GlandularDoseMgy": 1.9}),
)


@pytest.fixture(scope="module")
def year() -> Year:
    """Return the year as plain lists."""
    return simulate()


@pytest.fixture(scope="module")
def database(year: Year, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Return a database with the year in it."""
    with Database(f"sqlite:///{tmp_path_factory.mktemp('year')}/pacs.db") as database:
        database.migrate()
        write(year, database)
        yield database


def report_of(database: Database, number: int) -> Report:
    """Return the report of a month of the year."""
    with database.session() as session:
        return count(session, Month(YEAR, number), ZONE, LEVELS, NOW)


def kind(study: Study) -> str:
    """Return what a study counts as."""
    return study.modalities.split()[0]


def in_month(year: Year, number: int) -> list[Study]:
    """Return the studies that came in a month by the hospital's clock."""
    local = [(study, study.received_at.astimezone(ZONE)) for study in year.studies]
    return [study for study, at in local if (at.year, at.month) == (YEAR, number)]


def hours(begin: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds between two moments, None where one is not known."""
    return (end - begin).total_seconds() if begin and end else None


def same(found: Spread | None, spans: list[float | None]) -> bool:
    """Tell whether a spread is the one of these spans, by numpy."""
    known = [span for span in spans if span is not None]
    if found is None or not known:
        return found is None and not known
    expected = (len(known), np.median(known), np.percentile(known, 90))
    return (found.count, found.median, found.ninth_tenth) == pytest.approx(expected)


def seconds_down(year: Year, begin: datetime, end: datetime) -> tuple[float, float]:
    """Return measured and down seconds by walking through the time minute by minute."""
    minutes = measured = down = 0
    runs = iter([*year.runs, (year.runs[-1][0] + timedelta(seconds=INTERVAL_SECONDS), True)])
    (at, is_good), following = next(runs), next(runs)
    last = year.runs[-1][0] + timedelta(seconds=INTERVAL_SECONDS)
    moment = begin
    while moment < end:
        while following and following[0] <= moment:
            (at, is_good), following = following, next(runs, None)
        if year.runs[0][0] <= moment < last:
            measured += 60
            down += 60 * (not is_good or moment - at >= timedelta(seconds=2 * INTERVAL_SECONDS))
        moment += timedelta(minutes=1)
        minutes += 1
    return measured, down


@pytest.mark.parametrize("number", range(1, 13))
def test_report_equals_what_is_counted_apart(database: Database, year: Year, number: int) -> None:
    """Studies, images, bytes, hours, days, orders and growth of each month, clock changes among them."""
    report, studies = report_of(database, number), in_month(year, number)
    assert Counter(kind(study) for study in studies) == {one.modality: one.studies for one in report.modalities}
    assert report.images == sum(study.images for study in studies)
    assert report.storage.grown_bytes == sum(study.size_bytes for study in studies)
    assert report.without_order == sum(study.ordered_at is None for study in studies)
    for one in report.modalities:
        own = [study.received_at.astimezone(ZONE) for study in studies if kind(study) == one.modality]
        assert one.by_hour == tuple(sum(at.hour == hour for at in own) for hour in range(24))
    days = Counter(study.received_at.astimezone(ZONE).day for study in studies)
    assert report.by_day == tuple(days[day + 1] for day in range(len(report.by_day)))
    before = in_month(year, number - 1) if number > 1 else None
    assert before is None or report.studies_before == len(before)
    end = Month(YEAR, number).end(ZONE)
    assert report.storage.total_bytes == sum(study.size_bytes for study in year.studies if study.received_at < end)


@pytest.mark.parametrize("number", [1, 3, 10, 12])
def test_turnaround_equals_what_is_counted_apart(database: Database, year: Year, number: int) -> None:
    """From the order, found by number or by UID, to the first image and to the first report, by modality."""
    by_kind: dict[str, list[Study]] = defaultdict(list)
    for study in in_month(year, number):
        by_kind[kind(study)].append(study)
    for one in report_of(database, number).turnarounds:
        own = by_kind[one.modality]
        assert same(one.to_images, [hours(study.ordered_at, study.received_at) for study in own])
        assert same(one.to_report, [hours(study.received_at, study.reported_at) for study in own])
        assert same(one.in_all, [hours(study.ordered_at, study.reported_at) for study in own])


@pytest.mark.parametrize("number", [2, 7])
def test_doses_equal_what_is_counted_apart(database: Database, year: Year, number: int) -> None:
    """Medians by protocol: the highest CTDIvol and the sum of DLP and DAP of an examination, each glandular dose."""
    rows = [(study, event) for study in in_month(year, number) for event in study.doses]
    report = report_of(database, number)
    assert {(one.modality, one.protocol) for one in report.doses} == {(kind(study), event[0]) for study, event in rows}
    for one in report.doses:
        own = [(study, event) for study, event in rows if (kind(study), event[0]) == (one.modality, one.protocol)]

        def median(place: int, join: Callable[[list[float]], float], own: list = own) -> float | None:  # type: ignore[type-arg]
            by_study = defaultdict(list)
            for study, event in own:
                if event[place] is not None:
                    by_study[study.orthanc_study_id].append(event[place])
            return float(np.median([join(values) for values in by_study.values()])) if by_study else None

        assert one.examinations == len({study.orthanc_study_id for study, _ in own})
        assert one.ctdi_vol_mgy == pytest.approx(median(1, max))
        assert one.dlp_mgy_cm == pytest.approx(median(2, sum))
        area = median(3, sum)
        assert one.dose_area_gy_cm2 == pytest.approx(None if area is None else area * 10_000)
        glandular = [event[4] for _, event in own if event[4] is not None]
        assert one.glandular_dose_mgy == pytest.approx(float(np.median(glandular)) if glandular else None)
        above = {"Cráneo rutina": ("ctdi_vol_mgy",)}.get(one.protocol, ())
        if one.modality == "MG":
            above = ("glandular_dose_mgy",) if np.median(glandular) > 1.9 else ()
        assert one.exceeded == above


@pytest.mark.parametrize("number", [1, 4, 12])
def test_availability_equals_a_walk_through_the_month(database: Database, year: Year, number: int) -> None:
    """Down is the time after a failed signal, and after one that did not come; what was not measured does not count."""
    month = Month(YEAR, number)
    found = report_of(database, number).availability
    measured, down = seconds_down(year, month.begin(ZONE), month.end(ZONE))
    assert found is not None
    assert (found.measured_seconds, found.down_seconds) == pytest.approx((measured, down), abs=120)
    within = [is_good for at, is_good in year.runs if month.begin(ZONE) <= at < month.end(ZONE)]
    assert (found.runs, found.failed_runs) == (len(within), within.count(False))
    assert found.ratio == pytest.approx(1 - down / measured, abs=1e-4)


def test_incidents_are_those_that_lasted_into_the_month(database: Database, year: Year) -> None:
    """Every incident that was there at any time of the month, in order."""
    for number in range(1, 13):
        begin, end = Month(YEAR, number).begin(ZONE), Month(YEAR, number).end(ZONE)
        expected = [at for _, at, until in year.incidents if at < end and (until is None or until > begin)]
        assert [one.began_at for one in report_of(database, number).incidents] == expected


def test_month_without_anything_is_told_as_such(tmp_path: Path) -> None:
    """An empty archive has a report, which says in every part that there was nothing."""
    with Database(f"sqlite:///{tmp_path}/pacs.db") as empty:
        empty.migrate()
        report = report_of(empty, 5)
    assert (report.studies, report.availability, report.doses, report.turnarounds) == (0, None, (), ())
    text = html(report, WebSettings.model_validate({"Language": "es"}))
    for words in ("Este mes no llegó ningún estudio", "no se midió la disponibilidad", "No hubo ningún incidente"):
        assert words in text


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("es", ["Informe del archivo de imágenes", "Dosis de radiación por protocolo", "Hospital &amp; Clínica"]),
        ("pt", ["Relatório do arquivo de imagens", "Disponibilidade"]),
        ("en", ["Report of the image archive", "From order to report"]),
    ],
)
def test_page_tells_the_figures_in_every_language(database: Database, language: str, words: list[str]) -> None:
    """The HTML needs nothing beside it and has each modality, protocol and level."""
    web = WebSettings.model_validate(
        {"Language": language, "TimeZone": "Europe/Lisbon", "Institution": "Hospital & Clínica"}
    )
    text = html(report_of(database, 7), web)
    assert [word for word in [*words, "Cráneo rutina", "Cabeza", 'class="over"'] if word not in text] == []
    assert not re.search(r"(src|href)=", text)


@pytest.mark.parametrize(
    ("key", "modality"),
    [("|CT|", "CT"), ("|SR|CT|", "CT"), ("|SR|", "SR"), ("|PR|SR|", "PR"), ("", "?"), ("|MR|SEG|", "MR")],
)
def test_study_counts_as_its_images(key: str, modality: str) -> None:
    """Reports, marks and masks accompany images and are no examination of their own."""
    assert modality_of(key) == modality


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [3.0, 1.0, 2.0], list(map(float, range(11)))])
def test_spread_is_that_of_numpy(values: list[float]) -> None:
    """Median and ninth tenth, linear between neighbours."""
    assert same(spread(values), list(values))


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "0000-01", "26-10", "2026-1", "octubre", "", "2026-10-01"])
def test_month_is_refused_that_is_none(text: str) -> None:
    """A sentence says what was expected."""
    with pytest.raises(InvalidInput, match="2026-10"):
        Month.parse(text)


@pytest.mark.parametrize(("month", "back", "other"), [("2026-01", -1, "2025-12"), ("2026-12", 1, "2027-01")])
def test_months_go_over_the_year(month: str, back: int, other: str) -> None:
    """The month before January is December."""
    assert str(Month.parse(month).plus(back)) == other


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Give the pages, with reports in tmp_path/reports."""
    with pages(tmp_path) as started:
        yield started


def test_report_is_made_by_a_child_and_offered(made: Pages, tmp_path: Path) -> None:
    """HTML and PDF are there, whole, listed for administrators and given to be kept; nothing else of the folder is."""
    reports = made.services.monitoring.reports
    reports.make(Month(YEAR, 5), "pt", threading.Event())
    (kept,) = reports.kept()
    assert (str(kept.month), kept.language, sorted(kept.files)) == ("2025-05", "pt", ["html", "pdf"])
    client = made.client("es")
    pdf = client.get(f"/status/reports/{kept.files['pdf']}")
    assert pdf.data.startswith(b"%PDF-")
    assert pdf.headers["Content-Disposition"].startswith("attachment")
    assert "Relatório" in client.get(f"/status/reports/{kept.files['html']}").get_data(as_text=True)
    assert kept.files["pdf"] in client.get("/status").get_data(as_text=True)
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == sorted(kept.files.values())
    (tmp_path / "reports" / "secret.txt").write_text("secret")
    for name in ("secret.txt", "..%2fpacs.db", "report-2025-05-xx.pdf", "report-2025-06-pt.pdf"):
        assert client.get(f"/status/reports/{name}").status_code == 404
    with pytest.raises(NotFound):
        reports.path("../pacs.db")


def test_report_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    """Where the folder is none the child's words come through."""
    with pages(tmp_path, monitoring={"ReportFolder": tmp_path / "gone" / "deeper"}) as made:
        (tmp_path / "gone").write_text("a file")
        with pytest.raises((ReportFailed, OSError)):
            made.services.monitoring.reports.make(Month(YEAR, 5), "es", threading.Event())


@pytest.mark.parametrize(
    "form", [{"month": "2026-13"}, {"month": "9999-01"}, {"month": "2026-01", "language": "xx"}, {}]
)
def test_report_is_not_ordered_that_makes_no_sense(made: Pages, form: dict[str, str]) -> None:
    """A wrong month, one that has not begun, an unknown language."""
    assert made.client().post("/status/reports", data=form).status_code == 400


def test_report_is_ordered_by_the_page(made: Pages) -> None:
    """The form leads back to the page, which says that it is being made; programs get 202."""
    client = made.client("es")
    answer = client.post("/status/reports", data={"month": "2025-05"})
    assert (answer.status_code, "asked=1" in answer.headers["Location"]) == (303, True)
    assert "El informe se está haciendo" in client.get("/status?asked=1").get_data(as_text=True)
    told = client.post(
        "/status/reports", data={"month": "2025-05", "language": "en"}, headers={"Accept": "application/json"}
    )
    assert (told.status_code, told.get_json()) == (202, {"month": "2025-05", "language": "en"})
