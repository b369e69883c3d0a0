"""What the Status page says: green, or what is wrong in words, the worst first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from pacs.backup.overview import Overview, Task
from pacs.monitoring.alerts import Alert
from pacs.monitoring.figures import Disk, Modality, Snapshot
from pacs.monitoring.golden_signal import Run
from pacs.monitoring.report.reports import Kept
from pacs.web.services import Services
from pacs.work import Supervisor, ThreadState, WorkQueue, WorkState
from pacs.work.states import PENDING

_RUNS_SHOWN = 48
_LATE_INTERVALS = 3
_DISK_BAD_YEARS = 30 / 365.25
_DISK_WARN_YEARS = 0.5
_LEAST_WITHOUT_ORDER = 5
_MOST_WITHOUT_ORDER = 0.3
_FIGURES_OLD = timedelta(minutes=10)


class Severity(StrEnum):
    """How bad it is: whether patients' images or data are at stake, or somebody should look today."""

    BAD = "bad"
    WARN = "warn"


class Topic(StrEnum):
    """What is wrong."""

    GOLDEN = "golden"
    GOLDEN_LATE = "golden-late"
    SILENT = "silent"
    NO_ORDER = "no-order"
    DEAD_LETTERS = "dead-letters"
    THREAD = "thread"
    BACKUP = "backup"
    DISK = "disk"
    FIGURES = "figures"
    ALERT = "alert"


# Alerts (monitoring/rules) that say what this page says by itself.
_SAME_ALERTS: Mapping[Topic, frozenset[str]] = {
    Topic.GOLDEN: frozenset({"GoldenPathBroken"}),
    Topic.GOLDEN_LATE: frozenset({"GoldenPathBroken"}),
    Topic.SILENT: frozenset({"ModalitySilent"}),
    Topic.NO_ORDER: frozenset({"ImagesWithoutOrderRising"}),
    Topic.DEAD_LETTERS: frozenset({"WorkGivenUp"}),
    Topic.THREAD: frozenset({"WorkerDying"}),
    Topic.BACKUP: frozenset({"BackupFailed", "BackupLate", "DrillFailed", "ArchiveFilesDamaged"}),
    Topic.DISK: frozenset({"DiskFullSoon", "DiskAlmostFull"}),
    Topic.FIGURES: frozenset({"ArchiveFiguresOld"}),
}


# Which of the alerts' runbooks says what to do about what this page finds by itself.
_RUNBOOKS: Mapping[Topic, str] = {
    Topic.GOLDEN: "GoldenPathBroken",
    Topic.GOLDEN_LATE: "GoldenPathBroken",
    Topic.SILENT: "ModalitySilent",
    Topic.NO_ORDER: "ImagesWithoutOrderRising",
    Topic.DEAD_LETTERS: "WorkGivenUp",
    Topic.THREAD: "WorkerDying",
    Topic.DISK: "DiskFullSoon",
    Topic.FIGURES: "ArchiveFiguresOld",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    about : what it is about: the modality, the run, the alert ...
    """

    severity: Severity
    topic: Topic
    about: object

    @property
    def runbook(self) -> str:
        """The name of the runbook that says what to do, whether it is there or not."""
        if isinstance(self.about, Alert):
            return self.about.runbook
        if isinstance(self.about, Task):
            return _runbook_of(self.about)
        return _RUNBOOKS[self.topic]


@dataclass(frozen=True)
class QueueState:
    """One queue."""

    name: str
    waiting: int
    working: int
    failed: int


@dataclass(frozen=True)
class StatusState:
    """Everything on the page.

    Attributes
    ----------
    snapshot : None in the first moments after a start.
    runs : of the golden signal, oldest first; none when it is off.
    last_backup : newest success of files or the database at any place; None without one.
    """

    now: datetime
    findings: tuple[Finding, ...]
    snapshot: Snapshot | None
    runs: tuple[Run, ...]
    is_golden_on: bool
    queues: tuple[QueueState, ...]
    backups: Overview
    last_backup: datetime | None
    reports: tuple[Kept, ...]
    last_month: str

    @property
    def severity(self) -> Severity | None:
        """The worst that was found; None: all is well."""
        found = {finding.severity for finding in self.findings}
        return next((one for one in Severity if one in found), None)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The stations, silent ones first, then by the last image."""
        if self.snapshot is None:
            return ()
        never = datetime.min.replace(tzinfo=UTC)
        listed = sorted(self.snapshot.modalities, key=lambda one: one.last_image_at or never, reverse=True)
        return tuple(sorted(listed, key=lambda one: not one.is_silent(self.now)))

    @property
    def waiting(self) -> int:
        """Work that waits, of all queues."""
        return sum(queue.waiting for queue in self.queues)

    @property
    def busy(self) -> tuple[QueueState, ...]:
        """The queues with something in them, the fullest first."""
        found = [queue for queue in self.queues if queue.waiting or queue.working or queue.failed]
        return tuple(sorted(found, key=lambda queue: queue.waiting + queue.failed, reverse=True))

    @property
    def expects_orders(self) -> bool:
        """Whether there are orders here at all: any study of the day has one."""
        return self.snapshot is not None and _expects_orders(self.snapshot)

    @property
    def failed(self) -> int:
        """Work that was given up."""
        return sum(queue.failed for queue in self.queues)


def read_status(services: Services) -> StatusState:
    """Gather what the page says. Raises DatabaseError."""
    monitoring, now = services.monitoring, datetime.now(UTC)
    snapshot, backups = monitoring.figures.latest(), services.backups.overview()
    runs = tuple(reversed(monitoring.runs(_RUNS_SHOWN)))
    queues = tuple(map(_queue, services.queues))
    found = [
        *_of_golden_signal(runs, now),
        *(_of_snapshot(snapshot, now) if snapshot else ()),
        *(Finding(Severity.WARN, Topic.DEAD_LETTERS, queue) for queue in queues if queue.failed),
        *_of_threads(services.supervisor),
        *(Finding(Severity.BAD, Topic.BACKUP, task) for task in backups.bad),
    ]
    found += _of_alerts(snapshot.alerts if snapshot else (), {finding.topic for finding in found})
    ordered = sorted(found, key=lambda finding: list(Severity).index(finding.severity))
    return StatusState(
        now,
        tuple(ordered),
        snapshot,
        runs,
        monitoring.golden_interval_seconds is not None,
        queues,
        backups,
        _last_backup(backups),
        tuple(monitoring.reports.kept()),
        str(monitoring.reports.last_month()),
    )


def _of_golden_signal(runs: Sequence[Run], now: datetime) -> Iterator[Finding]:
    if not runs:
        return
    last = runs[-1]
    if now - last.began_at > timedelta(seconds=last.interval_seconds) * _LATE_INTERVALS:
        yield Finding(Severity.BAD, Topic.GOLDEN_LATE, last)
    elif not last.is_good:
        yield Finding(Severity.BAD, Topic.GOLDEN, last)


def _of_snapshot(snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    if now - snapshot.at > _FIGURES_OLD:
        yield Finding(Severity.WARN, Topic.FIGURES, snapshot)
    for modality in snapshot.modalities:
        if modality.is_silent(now):
            yield Finding(Severity.WARN, Topic.SILENT, modality)
    if _expects_orders(snapshot):
        for modality in snapshot.modalities:
            if _lacks_orders(modality):
                yield Finding(Severity.WARN, Topic.NO_ORDER, modality)
    yield from _of_disk(snapshot.disk)


def _expects_orders(snapshot: Snapshot) -> bool:
    """Tell whether there are orders here at all: any study of the day has one."""
    return any(one.studies > one.without_order for one in snapshot.modalities)


def _lacks_orders(modality: Modality) -> bool:
    without = modality.without_order
    return without >= _LEAST_WITHOUT_ORDER and without > modality.studies * _MOST_WITHOUT_ORDER


def _of_disk(disk: Disk | None) -> Iterator[Finding]:
    years = disk.years_left if disk else None
    if years is not None and years < _DISK_WARN_YEARS:
        yield Finding(Severity.BAD if years < _DISK_BAD_YEARS else Severity.WARN, Topic.DISK, disk)


def _runbook_of(task: Task) -> str:
    if task.outcome == "damage" and task.kind == "drill":
        return "DrillFailed"
    if task.outcome == "damage":
        return "ArchiveFilesMissing" if task.facts.get("missing") else "ArchiveFilesDamaged"
    return "BackupLate" if task.is_late else "BackupFailed"


def _of_alerts(alerts: Sequence[Alert], told: Collection[Topic]) -> Iterator[Finding]:
    """Yield what Prometheus found and this page did not."""
    for alert in alerts:
        if not any(alert.name in _SAME_ALERTS.get(topic, ()) for topic in told):
            yield Finding(_severity_of(alert), Topic.ALERT, alert)


def _severity_of(alert: Alert) -> Severity:
    return Severity.BAD if alert.severity == "critical" else Severity.WARN


def _of_threads(supervisor: Supervisor) -> Iterator[Finding]:
    for thread in supervisor.status():
        if thread.state is ThreadState.PAUSED:
            yield Finding(Severity.BAD, Topic.THREAD, thread)


def _queue(queue: WorkQueue) -> QueueState:
    counts = queue.counts()
    waiting = sum(counts[state] for state in PENDING)
    return QueueState(queue.name, waiting, counts[WorkState.WORKING], counts[WorkState.FAILED])


def _last_backup(backups: Overview) -> datetime | None:
    def successes(tasks: Sequence[Task]) -> Iterator[datetime]:
        return (task.last_success for task in tasks if task.last_success and task.kind in {"files", "database"})

    return max((at for place in backups.places for at in successes(place.tasks)), default=None)
