"""The Status page: green, or what is wrong in words, in every language, for every role."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from fixtures.backup_states import backups_of_a_hospital
from fixtures.monitored_hospital import golden_runs, half_a_year
from fixtures.monitoring_content import MONITORING, alerts
from fixtures.pages import Pages, pages
from pacs.access.roles import ROLES_HEADER
from pacs.monitoring.alerts import Alert
from pacs.monitoring.figures import Disk, Modality, Snapshot
from pacs.web.status_view import _RUNBOOKS, Severity, Topic, read_status

NOW = datetime.now(UTC)
ZONE = ZoneInfo("America/Asuncion")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Pages]:
    """Give the pages of an archive whose golden signal is on."""
    with pages(
        tmp_path,
        access_required=True,
        monitoring={"GoldenSignal": {"EveryMinutes": 5}, "RunbookFolder": MONITORING / "runbooks"},
        TimeZone="America/Asuncion",
    ) as started:
        started.archive.answers["/modalities?expand"] = {}
        yield started


def page(made: Pages, language: str = "en", role: str = "admin") -> str:
    """Return the page as somebody sees it."""
    return made.client(language).get("/status", headers={ROLES_HEADER: role}).get_data(as_text=True)


def know(made: Pages, *modalities: Modality, disk: Disk | None = None, alerts: tuple[Alert, ...] = ()) -> None:
    """Have the figures been gathered just now."""
    now = datetime.now(UTC)
    made.services.monitoring.figures._latest = Snapshot(now, modalities, disk, (), alerts)


def modality(**figures: object) -> Modality:
    """Return a modality that is in order, but for `figures`."""
    usual: dict[str, object] = {
        "station": "CT1",
        "names": ("Tomógrafo",),
        "last_image_at": NOW - timedelta(minutes=5),
        "longest_silence": timedelta(hours=1),
        "last_question_at": None,
        "studies": 20,
        "without_order": 0,
        "daily": (1,) * 14,
    }
    return Modality(**(usual | figures))  # type: ignore[arg-type]


def topics(made: Pages) -> list[tuple[str, str]]:
    """Return what is wrong, worst first."""
    return [(finding.severity.value, finding.topic.value) for finding in read_status(made.services).findings]


@pytest.mark.parametrize(("language", "words"), [("en", "All is well."), ("es", "Todo está bien."), ("pt", "tudo bem")])
def test_page_is_green_when_nothing_is_wrong(made: Pages, language: str, words: str) -> None:
    """One sentence says it."""
    know(made, modality())
    golden_runs(made.database, datetime.now(UTC), 3)
    text = page(made, language)
    assert words in text
    assert 'data-severity="good"' in text
    assert "Tomógrafo" in text


def test_page_is_there_in_the_first_moments(made: Pages) -> None:
    """Before anything was gathered the page says so, and nothing is wrong."""
    assert "The archive has just begun" in page(made)
    assert topics(made) == []


@pytest.mark.parametrize("role", ["admin", "radiologist", "technician", "referring", "machine", "none"])
def test_page_is_for_every_role_and_reports_for_administrators(made: Pages, role: str) -> None:
    """Everybody may know whether all is well; technical words and reports are the administrator's."""
    know(made, modality())
    golden_runs(made.database, datetime.now(UTC), 3, failed=frozenset({2}))
    text = page(made, role=role)
    assert "The test study did not get through: Image stored failed." in text
    assert ("C-STORE: status A700" in text) is (role == "admin")
    assert ("Monthly reports" in text) is (role == "admin")


SILENT = modality(last_image_at=NOW - timedelta(hours=3))
LACKING = modality(without_order=9)
CRITICAL = Alert("CertificateExpired", "", "critical", {"en": "The certificate has expired."}, {"en": "Renew."}, "")


@pytest.mark.parametrize(
    ("known", "expected", "words"),
    [
        ({}, [], "All is well."),
        ({"modality": SILENT}, [("warn", "silent")], "Tomógrafo has sent nothing for 3 hrs."),
        ({"modality": modality(last_image_at=None)}, [], "Nothing yet"),
        ({"modality": modality(longest_silence=None, last_image_at=NOW - timedelta(days=9))}, [], "All is well."),
        ({"modality": LACKING}, [("warn", "no-order")], "9 of 20 studies of the last 24 hours have no order."),
        ({"modality": modality(without_order=20)}, [], "All is well."),
        ({"modality": modality(without_order=4, studies=5)}, [], "All is well."),
        ({"disk": Disk(1000, 100, 1.0)}, [("warn", "disk")], "will be full in 3 mths"),
        ({"disk": Disk(1000, 10, 1.0)}, [("bad", "disk")], "will be full in 10 days"),
        ({"disk": Disk(1000, 900, 1.0)}, [], "2.5"),
        ({"disk": Disk(1000, 900, None)}, [], "10%"),
        ({"alerts": (CRITICAL,)}, [("bad", "alert")], "The certificate has expired."),
    ],
    ids=[
        "well", "silent", "never sent", "unknown habits", "without orders", "no orders at all", "few", "disk in months",
        "disk in days", "disk in years", "growth unknown", "alert",
    ],
)  # fmt: skip
def test_page_says_what_is_wrong(
    made: Pages, known: dict[str, object], expected: list[tuple[str, str]], words: str
) -> None:
    """Each fault in a sentence that names the machine; what is not known for sure is no fault."""
    one = known.pop("modality", modality())
    know(made, one, **known)  # type: ignore[arg-type]
    assert topics(made) == expected
    if words != "2.5":
        assert words in page(made)


def test_dead_letters_are_told_with_their_queue(made: Pages) -> None:
    """Work that was given up waits for a person."""
    queue = made.services.queues[0]
    queue.put({})
    (claim,) = queue.claim(1)
    claim.reject("no")
    assert topics(made) == [("warn", "dead-letters")]
    assert "outbox" in page(made)


def test_worst_is_told_first(made: Pages, tmp_path: Path) -> None:
    """What puts images at risk before what somebody should look at."""
    backups_of_a_hospital(tmp_path / "backups")
    know(made, SILENT, disk=Disk(1000, 10, 1.0))
    found = read_status(made.services)
    assert found.severity is Severity.BAD
    kinds = [finding.severity for finding in found.findings]
    assert kinds == sorted(kinds, key=list(Severity).index)
    assert {Topic.BACKUP, Topic.SILENT, Topic.DISK} == {finding.topic for finding in found.findings}


def test_alert_says_nothing_twice(made: Pages) -> None:
    """What the page says by itself, Prometheus need not say once more; what it alone knows, it does."""
    same = Alert("ModalitySilent", "CT1", "warning", {"en": "The CT is silent."}, {}, "")
    know(made, SILENT, alerts=(same, CRITICAL))
    assert sorted(topics(made)) == [("bad", "alert"), ("warn", "silent")]


@pytest.mark.parametrize(
    ("minutes_ago", "expected"), [(1, []), (14, []), (16, [("bad", "golden-late")])], ids=["now", "late", "too late"]
)
def test_signal_that_stopped_is_told(made: Pages, minutes_ago: int, expected: list[tuple[str, str]]) -> None:
    """After three intervals without a run nobody knows whether the archive works."""
    golden_runs(made.database, datetime.now(UTC) - timedelta(minutes=minutes_ago), 1)
    assert topics(made) == expected


def test_old_figures_are_told(made: Pages) -> None:
    """A page whose figures stand still must not look green."""
    made.services.monitoring.figures._latest = Snapshot(NOW - timedelta(minutes=11), (), None, (), ())
    assert topics(made) == [("warn", "figures")]


LOCKED = Alert(
    "DataVolumeLocked",
    "",
    "critical",
    {"en": "The data volume is locked.", "es": "Está cerrado."},
    {},
    "DataVolumeLocked",
)


@pytest.mark.parametrize("role", ["admin", "radiologist", "technician", "referring", "machine", "none"])
def test_what_to_do_is_for_who_reads_the_page(made: Pages, role: str) -> None:
    """From the alert one gets to its steps; commands are shown to those who may give them."""
    know(made, modality(), alerts=(LOCKED,))
    assert 'status/runbooks/DataVolumeLocked"' in page(made, role=role)
    answer = made.client("es").get("/status/runbooks/DataVolumeLocked", headers={ROLES_HEADER: role})
    text = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert "El volumen de los datos está cerrado" in text
    assert "Está cerrado." in text
    assert "Es así ahora." in text
    assert ("<pre" in text) is (role == "admin")
    assert ("Esto cambia algo en el servidor." in text) is (role == "admin")


def test_each_finding_has_its_runbook(made: Pages, tmp_path: Path) -> None:
    """What the page finds by itself is told what to do about, too; each name is a runbook that there is."""
    backups_of_a_hospital(tmp_path / "backups")
    golden_runs(made.database, datetime.now(UTC), 3, failed=frozenset({2}))
    know(made, SILENT, LACKING, disk=Disk(1000, 10, 1.0), alerts=(LOCKED,))
    found = {finding.runbook for finding in read_status(made.services).findings}
    assert found >= {
        "GoldenPathBroken",
        "ModalitySilent",
        "ImagesWithoutOrderRising",
        "DiskFullSoon",
        "DataVolumeLocked",
    }
    assert found & {"BackupLate", "BackupFailed", "ArchiveFilesDamaged"}
    assert {*found, *_RUNBOOKS.values()} <= alerts().keys()
    assert page(made).count('class="what-to-do"') >= len(found)


@pytest.mark.parametrize(
    ("told", "runbook"),
    [
        ({"kind": "fixity", "outcome": "damage", "broken": 1}, "ArchiveFilesDamaged"),
        ({"kind": "consistency", "outcome": "damage", "missing": 0, "other_size": 1}, "ArchiveFilesDamaged"),
        ({"kind": "consistency", "outcome": "damage", "missing": 2, "other_size": 0}, "ArchiveFilesMissing"),
        ({"kind": "drill", "outcome": "damage"}, "DrillFailed"),
        ({"kind": "drill", "outcome": "failed"}, "BackupFailed"),
        ({"kind": "files", "outcome": "failed"}, "BackupFailed"),
    ],
)
def test_fault_of_the_backups_has_the_runbook_of_its_alert(
    made: Pages, tmp_path: Path, told: dict[str, object], runbook: str
) -> None:
    """A drill that found too little is no fault of the images: who follows the other steps looks at the wrong disk."""
    (tmp_path / "backups/status").mkdir(parents=True)
    (tmp_path / f"backups/status/{told['kind']}.json").write_text(json.dumps(told))
    assert [finding.runbook for finding in read_status(made.services).findings] == [runbook]
    assert f"status/runbooks/{runbook}" in page(made)


def test_alert_without_runbook_offers_none(made: Pages) -> None:
    """An alert of somebody else's rules is told as it is, and a runbook that is not there is not found."""
    know(made, modality(), alerts=(CRITICAL,))
    assert 'class="what-to-do"' not in page(made)
    assert made.client().get("/status/runbooks/Nobody", headers={ROLES_HEADER: "admin"}).status_code == 404


def test_page_renews_only_what_changes(made: Pages) -> None:
    """The answer to htmx is the part, without the frame and the form."""
    half_a_year(made, datetime.now(UTC), ZONE, weeks=1)
    made.services.monitoring.figures.gather()
    part = made.client().get("/status", headers={ROLES_HEADER: "admin", "HX-Request": "true"}).get_data(as_text=True)
    assert "<html" not in part
    assert "RX sala 1" in part
    assert 'name="month"' not in part
