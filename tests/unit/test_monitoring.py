"""What monitoring computes: silences, figures of stations and disk, doses, alerts, incidents, metrics."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydicom import Dataset

from fakes.archive import MemoryArchive
from fixtures.dose_reports import container, ct_event, dose_report, number, text, x_ray_event
from fixtures.monitored_hospital import SILENT, golden_runs, half_a_year
from fixtures.pages import Pages, pages
from fixtures.study_rows import store_rows, study_row
from fixtures.worklist_entries import entry, question
from pacs.database import Database
from pacs.hl7.header import Header
from pacs.hl7.outbound.client import MllpClient
from pacs.hl7.peers import Peers, sender_of
from pacs.hl7.settings import Hl7Settings
from pacs.monitoring import alerts, incidents
from pacs.monitoring.collector import MonitoringCollector
from pacs.monitoring.doses import Event, events_of
from pacs.monitoring.figures import MOST_STATIONS, Disk, Figures
from pacs.monitoring.golden_signal import golden_destination, last_success, latest, with_golden_peer
from pacs.monitoring.identity import AE_TITLE, PEER
from pacs.monitoring.incidents import Fact
from pacs.monitoring.silence import longest_silence
from pacs.monitoring.sink import Sink
from pacs.worklist.steps import Version

ZONE = ZoneInfo("America/Santiago")
# A Tuesday at 10:20 in the hospital.
NOW = datetime(2026, 11, 17, 10, 20, tzinfo=ZONE).astimezone(UTC)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Give the pages of an archive whose golden signal is on."""
    with pages(tmp_path, monitoring={"GoldenSignal": {"EveryMinutes": 5}}, TimeZone="America/Santiago") as started:
        started.archive.answers["/modalities?expand"] = {}
        yield started


def tuesdays(weeks: range, *minutes: int) -> list[datetime]:
    """Return moments so many minutes after 9:00 on Tuesdays so many weeks ago, by the hospital's clock."""
    nine = NOW.astimezone(ZONE).replace(hour=9, minute=0, tzinfo=None)
    moments = [nine - timedelta(weeks=week) + timedelta(minutes=minute) for week in weeks for minute in minutes]
    return sorted(moment.replace(tzinfo=ZONE).astimezone(UTC) for moment in moments)


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        ([], None),
        (tuesdays(range(1, 4), 0, 30), None),
        (tuesdays(range(1, 10), 30, 90, 119), timedelta(minutes=60)),
        (tuesdays(range(1, 10), 30, 61), timedelta(minutes=59)),
        (tuesdays(range(1, 10), 0, 119), timedelta(minutes=119)),
        ([*tuesdays(range(2, 10), 30, 90), *tuesdays(range(1, 2), -60, 130)], timedelta(minutes=180)),
        (tuesdays(range(1, 10), 200), WEEK - timedelta(minutes=80)),
        (tuesdays(range(30, 40), 0), 4 * WEEK),
    ],
    ids=[
        "never",
        "three weeks",
        "between",
        "to the end of the hour",
        "from before",
        "worst week",
        "other hour",
        "always",
    ],
)
def test_silence_is_the_longest_of_this_hour_and_weekday(arrivals: list[datetime], expected: timedelta | None) -> None:
    """At any moment between 10 and 11 on earlier Tuesdays, clock changes or not; unknown with less than four weeks."""
    found = longest_silence(arrivals, NOW, ZONE)
    if expected == WEEK - timedelta(minutes=80):
        # The hour that the clocks went forward is a shorter week.
        assert found in (expected, expected + HOUR, expected - HOUR)
    elif expected and expected > 2 * HOUR and found:
        assert found >= expected
    else:
        assert found == expected


def figures(database: Database, archive: MemoryArchive, folder: Path, now: datetime = NOW) -> Figures:
    """Return figures whose present is fixed."""
    return Figures(database, archive, storage_directory=folder, zone=ZONE, clock=lambda: now)


def test_station_that_stopped_is_silent_and_no_other(made: Pages, tmp_path: Path) -> None:
    """The one that sent nothing since last week is told; the one that rests on weekends and nights is not."""
    half_a_year(made, NOW, ZONE)
    snapshot = figures(made.database, made.archive, tmp_path).gather()
    assert [one.station for one in snapshot.modalities if one.is_silent(NOW)] == [SILENT]
    ct = next(one for one in snapshot.modalities if one.station == "CT1")
    assert (ct.names, ct.studies > 15, len(ct.daily), ct.daily[-1] > 0) == (("Tomógrafo",), True, 14, True)
    sunday = NOW - timedelta(days=2)
    half_gone = figures(made.database, made.archive, tmp_path, sunday).gather()
    assert not [one.station for one in half_gone.modalities if one.station == "ECO2" and one.is_silent(sunday)]


def test_figures_follow_what_comes_and_goes(made: Pages, tmp_path: Path) -> None:
    """A new study counts within the next look; a study's order by number or by UID; nobody's studies never."""
    seen = figures(made.database, made.archive, tmp_path)
    assert seen.gather().modalities == ()
    rows = [
        study_row("CT", received_at=NOW - HOUR, AccessionNumber="A-1", PatientID="P-1"),
        study_row("CT", received_at=NOW - HOUR, StudyInstanceUID="2.25.77", PatientID="P-2"),
        study_row("CT", received_at=NOW - HOUR, AccessionNumber="A-9", PatientID="P-3"),
        study_row("CT", received_at=NOW - 2 * DAY, AccessionNumber="A-8", PatientID="P-4"),
        study_row("OT", received_at=NOW - HOUR, PatientID="PROBE-0123456789AB"),
        study_row("OT", received_at=NOW - HOUR, PatientID="REHEARSAL-0123456789AB"),
    ]
    store_rows(made.database, *(row | {"remote_aet": "CT1", "last_update_at": NOW - HOUR / 2} for row in rows))
    with made.database.session(write=True) as session:
        steps = [entry(AccessionNumber="A-1"), entry(AccessionNumber="", StudyInstanceUID="2.25.77")]
        for step in steps:
            made.services.worklist.upsert(session, [step], version=Version("", 1), actor="test")
    (ct,) = seen.gather().modalities
    assert (ct.studies, ct.without_order, ct.last_image_at) == (3, 1, NOW - HOUR / 2)
    assert sum(ct.daily) == 4


def test_question_for_the_worklist_is_kept_over_a_restart(made: Pages, tmp_path: Path) -> None:
    """The last of each station, of the golden signal none."""
    made.archive.answers["/modalities?expand"] = {"Scanner": {"AET": "CT1"}}
    first = figures(made.database, made.archive, tmp_path)
    for station in ("CT1", "CT1", AE_TITLE, "UNKNOWN"):
        first.note_question(station)
    first.gather()
    (ct,) = figures(made.database, made.archive, tmp_path, NOW + HOUR).gather().modalities
    assert (ct.station, ct.names, ct.last_question_at, ct.last_image_at) == ("CT1", ("Scanner",), NOW, None)


def test_stations_are_bounded(made: Pages, tmp_path: Path) -> None:
    """Whoever calls itself differently each time makes no more than so many series; the busy ones stay."""
    rows = [study_row("CT", received_at=NOW - HOUR) | {"remote_aet": f"X{number}"} for number in range(80)]
    busy = [study_row("CT", received_at=NOW - HOUR) | {"remote_aet": "ZZ"} for _ in range(3)]
    store_rows(made.database, *rows, *busy)
    stations = [one.station for one in figures(made.database, made.archive, tmp_path).gather().modalities]
    assert (len(stations), stations[0]) == (MOST_STATIONS, "ZZ")


@pytest.mark.parametrize(
    ("days_ago", "growth"),
    [((0.5,), None), ((), None), ((2, 1), 1000.0), ((60, 7, 1), 2000 / 28)],
    ids=["half a day", "empty", "two days", "four weeks"],
)
def test_growth_is_what_came_in_four_weeks(
    made: Pages, tmp_path: Path, days_ago: tuple[float, ...], growth: float | None
) -> None:
    """Over the days that there were; unknown before the first day is over."""
    for days in days_ago:
        store_rows(made.database, study_row(received_at=NOW - DAY * days))
    disk = figures(made.database, made.archive, tmp_path).gather().disk
    assert disk is not None
    assert disk.growth_bytes_per_day == pytest.approx(growth)
    assert (disk.years_left is None) is (growth is None)
    assert Disk(1000, 365.25 * 2, 1.0).years_left == pytest.approx(2)  # type: ignore[arg-type]


def test_figures_come_while_the_archive_does_not_answer(made: Pages, tmp_path: Path) -> None:
    """Without Orthanc's names the figures are there all the same."""
    half_a_year(made, NOW, ZONE, weeks=1)
    made.archive.broken = True
    assert figures(made.database, made.archive, tmp_path).gather().modalities[0].names == ()


# -- the golden signal ---------------------------------------------------------------------------------------------


def test_runs_are_read_newest_first(made: Pages) -> None:
    """With their steps; the last success is the last good one."""
    golden_runs(made.database, NOW, 5, failed=frozenset({4}))
    newest, before, *_ = latest(made.database, 5)
    assert (newest.is_good, newest.failed_step, before.is_good) == (False, "image", True)
    assert [step.is_good for step in newest.steps] == [True, True, True, False, *[None] * 6]
    assert last_success(made.database) == before.began_at == NOW - timedelta(minutes=5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"AcceptUnknownPeers": False, "Peers": {"HIS": {"Addresses": ["10.0.0.1/32"]}}},
        {"ProxyPort": 2580, "Peers": {"LOCAL": {"Addresses": ["127.0.0.1/32"]}}},
        {"Bind": "10.20.0.10"},
    ],
    ids=["as it comes", "server", "local peer", "own address"],
)
def test_golden_orders_are_known_from_this_machine_alone(settings: dict[str, object]) -> None:
    """Whatever the settings say of peers, the signal's orders are its own, and no other machine's can be."""
    peers = Peers(with_golden_peer(Hl7Settings.model_validate(settings)))
    bind = str(settings.get("Bind", "127.0.0.1"))
    order = Header.scan(b"MSH|^~\\&|PACSPROBE|PACS|PACS||20261117||OMI^O23|1|T|2.5.1\r")
    found = sender_of(order, peers.calling_from(bind))
    assert found is not None
    assert found.name == PEER
    assert PEER not in [peer.name for peer in peers.calling_from("10.0.0.1")]


def test_sink_acknowledges_every_message() -> None:
    """The system that the signal is told to answers AA to what is a message, AR to what is none."""
    sink, stop = Sink(), threading.Event()
    thread = threading.Thread(target=sink.run, args=(stop,))
    thread.start()
    try:
        destination = golden_destination(sink.port)
        for _ in range(2):
            with MllpClient(destination.host, destination.port, answer_seconds=10) as client:
                message = b"MSH|^~\\&|PACS||SINK||20261117||ORM^O01|C-1|T|2.3.1\r"
                assert b"MSA|AA|C-1" in client.ask(message, lambda: False)
                assert b"MSA|AR" in client.ask(b"nonsense", lambda: False)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(("station", "count"), [("CT1", 0), (AE_TITLE, 1)])
def test_golden_entry_is_answered_to_nobody_else(made: Pages, station: str, count: int) -> None:
    """No technician finds the signal's patient among the patients: not at the console, not on the page."""
    with made.database.session(write=True) as session:
        step = entry(PatientID="PROBE-0123456789AB")
        made.services.worklist.upsert(session, [step], version=Version("", 1), actor="test")
        assert made.services.worklist.page(session) == []
    assert len(list(made.services.worklist.find(question(), calling_aet=station))) == count


# -- doses ---------------------------------------------------------------------------------------------------------

AREA = ("122130", "Dose Area Product")


@pytest.mark.parametrize(
    ("report", "events"),
    [
        (dose_report(), []),
        (dose_report(ct_event("Tórax", 7.5, 312)), [Event("Tórax", 7.5, 312)]),
        (dose_report(ct_event("Topograma", None, None), ct_event("Cráneo", 55, 900.5)), [Event("Cráneo", 55, 900.5)]),
        (dose_report(x_ray_event("PA", number(*AREA, 0.000012, "Gy.m2"))), [Event("PA", dose_area_gy_m2=0.000012)]),
        (dose_report(x_ray_event("PA", number(*AREA, 1.2, "dGy.cm2"))), [Event("PA", dose_area_gy_m2=0.000012)]),
        (
            dose_report(x_ray_event("CC", number("111631", "Average Glandular Dose", 0.014, "dGy"))),
            [Event("CC", glandular_dose_mgy=1.4)],
        ),
        (dose_report(x_ray_event("PA", number(*AREA, 5, "furlong"))), []),
        (dose_report(container("113819", "CT Acquisition", text("125203", "Acquisition Protocol", " "))), []),
        (Dataset(), []),
    ],
    ids=["none", "CT", "localizer", "projection", "other unit", "mammography", "unknown unit", "empty", "no report"],
)
def test_events_are_read_from_dose_reports(report: Dataset, events: list[Event]) -> None:
    """Each event with its protocol, in our units; sums over all events are not taken for one."""
    found = events_of(report)
    assert len(found) == len(events)
    for one, expected in zip(found, events, strict=True):
        assert one.protocol == expected.protocol
        figures_of = ("ctdi_vol_mgy", "dlp_mgy_cm", "dose_area_gy_m2", "glandular_dose_mgy")
        for name in figures_of:
            assert getattr(one, name) == pytest.approx(getattr(expected, name))


# -- alerts and incidents ------------------------------------------------------------------------------------------


class _Prometheus(BaseHTTPRequestHandler):
    """Answers with what the test put into `answer`."""

    answer = b""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    """Run a Prometheus of sorts and return the address of its alerts."""
    server = HTTPServer(("127.0.0.1", 0), _Prometheus)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/v1/alerts"
    server.shutdown()
    thread.join()
    server.server_close()


def told(*found: dict[str, object]) -> bytes:
    """Return what Prometheus answers."""
    return json.dumps({"status": "success", "data": {"alerts": list(found)}}).encode()


SILENCE = {
    "state": "firing",
    "labels": {"alertname": "ModalitySilent", "severity": "warning", "station": "CT1", "instance": "x"},
    "annotations": {"summary_es": "El tomógrafo calla.", "summary_en": "The CT is silent.", "action_es": "Mirar."},
}


def test_alerts_are_those_that_fire(prometheus: str) -> None:
    """Pending ones and the one that always fires are not told; sentences by language, the subject by its label."""
    watchdog = {"state": "firing", "labels": {"alertname": "Watchdog", "severity": "none"}}
    _Prometheus.answer = told(SILENCE, SILENCE | {"state": "pending"}, watchdog)
    (alert,) = alerts.firing(prometheus) or ()
    assert (alert.name, alert.subject, alert.severity) == ("ModalitySilent", "CT1", "warning")
    assert alert.sentences == {"es": "El tomógrafo calla.", "en": "The CT is silent."}
    assert alert.actions == {"es": "Mirar."}


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"data": {}}', b'{"data": {"alerts": [{}]}}', b"<html>"])
def test_prometheus_that_talks_nonsense_is_no_alert(prometheus: str, answer: bytes) -> None:
    """Nothing is known then, which is not the same as nothing is wrong."""
    _Prometheus.answer = answer
    assert alerts.firing(prometheus) is None


def test_prometheus_that_is_away_ends_no_incident(made: Pages, tmp_path: Path, prometheus: str) -> None:
    """An alert is an incident from its first look to the first without it; silence of Prometheus changes nothing."""
    _Prometheus.answer = told(SILENCE)
    moments = iter([NOW, NOW + HOUR, NOW + 2 * HOUR])
    seen = Figures(
        made.database,
        made.archive,
        storage_directory=tmp_path,
        zone=ZONE,
        alerts_url=prometheus,
        clock=lambda: next(moments),
    )
    assert [alert.name for alert in seen.gather().alerts] == ["ModalitySilent"]
    _Prometheus.answer = b""
    assert seen.gather().alerts == ()
    (lasting,) = made.services.monitoring.lasting()
    assert (lasting.name, lasting.subject, lasting.began_at) == ("ModalitySilent", "CT1", NOW)
    _Prometheus.answer = told()
    seen.gather()
    with made.database.session() as session:
        (ended,) = incidents.between(session, NOW, NOW + DAY)
    assert (ended.ended_at, ended.seconds(NOW)) == (NOW + 2 * HOUR, 7200)


def test_incidents_begin_and_end_once(made: Pages) -> None:
    """What goes on is one incident; of another source none is ended; what came back is another."""
    image, worklist = (Fact("golden", name, "", "critical", {}) for name in ("image", "worklist"))
    looks = [[image], [image, worklist], [worklist], [], [image]]
    with made.database.session(write=True) as session:
        incidents.follow(session, "alert", [Fact("alert", "Disk", "", "critical", {})], NOW)
        for number_of, facts in enumerate(looks):
            incidents.follow(session, "golden", facts, NOW + HOUR * number_of)
            session.flush()
    with made.database.session() as session:
        found = [(one.name, one.began_at, one.ended_at) for one in incidents.between(session, NOW, NOW + DAY)]
    assert found == [
        ("Disk", NOW, None),
        ("image", NOW, NOW + 2 * HOUR),
        ("worklist", NOW + HOUR, NOW + 3 * HOUR),
        ("image", NOW + 4 * HOUR, None),
    ]


# -- metrics -------------------------------------------------------------------------------------------------------


def samples(collector: MonitoringCollector) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in collector.collect()
        for sample in family.samples
    }


def test_metrics_are_absent_before_anything_is_known() -> None:
    """No figure stands in for what is not known."""
    assert samples(MonitoringCollector(lambda: None, list, lambda: None, None)) == {("pacs_golden_enabled",): 0}
    on = samples(MonitoringCollector(lambda: None, list, lambda: None, 300))
    assert on == {("pacs_golden_enabled",): 1, ("pacs_golden_interval_seconds",): 300}


def test_metrics_tell_what_was_gathered(made: Pages, tmp_path: Path) -> None:
    """Figures by station, AE titles that are no plain word left out; the last signal step by step."""
    half_a_year(made, NOW, ZONE)
    odd = study_row("CT", received_at=NOW - HOUR) | {"remote_aet": "ñandú\n1"}
    store_rows(made.database, odd)
    golden_runs(made.database, NOW, 2, failed=frozenset({1}))
    snapshot = figures(made.database, made.archive, tmp_path).gather()
    found = samples(
        MonitoringCollector(lambda: snapshot, lambda: latest(made.database), lambda: last_success(made.database), 300)
    )
    assert {name[1] for name in found if name[0] == "pacs_modality_studies"} == {"CT1", "MR1", "ECO2", "RX1"}
    assert found["pacs_modality_longest_silence_seconds", "CT1"] > 0
    assert found["pacs_modality_last_worklist_question_timestamp_seconds", "CT1"] == (NOW.timestamp() - 240)
    assert found["pacs_golden_ok", "image"] == 0
    assert ("pacs_golden_ok", "web") not in found
    assert found["pacs_golden_last_success_timestamp_seconds",] == NOW.timestamp() - 300
    assert found["pacs_figures_last_success_timestamp_seconds",] == NOW.timestamp()
    assert found["pacs_disk_years_left",] > 0


def test_scrape_is_quick_with_half_a_year(made: Pages, tmp_path: Path) -> None:
    """Gathering happens once a minute; a scrape only tells, in much less than the 50 ms that all of it may take."""
    half_a_year(made, NOW, ZONE)
    snapshot = figures(made.database, made.archive, tmp_path).gather()
    collector = MonitoringCollector(lambda: snapshot, lambda: latest(made.database), lambda: None, 300)
    fastest = min(_seconds(collector) for _ in range(5))
    assert fastest < 0.05


def _seconds(collector: MonitoringCollector) -> float:
    began = time.perf_counter()
    samples(collector)
    return time.perf_counter() - began
