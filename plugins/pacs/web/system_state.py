"""The state of the whole, gathered for the System page."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pacs.errors import NotFound
from pacs.ports import Archive
from pacs.web.jobs import Job, list_jobs
from pacs.web.services import Services
from pacs.work import ThreadStatus, WorkQueue, WorkState
from pacs.work.states import PENDING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Disk:
    """The file system that holds the archive. All in bytes."""

    total_bytes: int
    free_bytes: int
    archive_bytes: int

    @property
    def other_bytes(self) -> int:
        """What is used by anything but the archive."""
        return max(self.total_bytes - self.free_bytes - self.archive_bytes, 0)


@dataclass(frozen=True)
class Counts:
    """How much the archive holds."""

    patients: int
    studies: int
    series: int
    instances: int


@dataclass(frozen=True)
class QueueFigures:
    """How much work of one kind waits, is under way, and was given up."""

    name: str
    waiting: int
    working: int
    failed: int


@dataclass(frozen=True)
class SystemState:
    """Everything that the System page shows.

    Attributes
    ----------
    versions : name and version of each part.
    disk : None when the folder of the archive can't be looked at from here.
    mapping_mistakes : of files that were changed since the start and can't be used.
    """

    versions: tuple[tuple[str, str], ...]
    disk: Disk | None
    counts: Counts
    queues: tuple[QueueFigures, ...]
    jobs: tuple[Job, ...]
    threads: Sequence[ThreadStatus]
    mapping_mistakes: Sequence[str]


def read_state(services: Services) -> SystemState:
    """Ask every part. Raise ArchiveError or DatabaseError when one does not answer."""
    statistics = services.archive.get_json("/statistics")
    return SystemState(
        versions=_versions(services),
        disk=_disk(services, int(statistics["TotalDiskSize"])),
        counts=Counts(
            patients=int(statistics["CountPatients"]),
            studies=int(statistics["CountStudies"]),
            series=int(statistics["CountSeries"]),
            instances=int(statistics["CountInstances"]),
        ),
        queues=tuple(map(_queue, services.queues)),
        jobs=tuple(list_jobs(services.archive)),
        threads=services.supervisor.status(),
        mapping_mistakes=services.mapper.library.faults(),
    )


def _queue(queue: WorkQueue) -> QueueFigures:
    counts = queue.counts()
    waiting = sum(counts[state] for state in PENDING)
    return QueueFigures(queue.name, waiting, counts[WorkState.WORKING], counts[WorkState.FAILED])


def _versions(services: Services) -> tuple[tuple[str, str], ...]:
    system = services.archive.get_json("/system")
    index = system.get("DatabaseBackendPlugin") or "SQLite"
    own = "SQLite" if services.database.is_sqlite else "PostgreSQL"
    return (
        ("PACS Cloud", services.version),
        ("Orthanc", system["Version"]),
        *_plugin_versions(services.archive),
        ("Python", platform.python_version()),
        ("Index", "PostgreSQL" if "postgresql" in index.lower() else "SQLite"),
        ("Database", own),
    )


def _plugin_versions(archive: Archive) -> list[tuple[str, str]]:
    found = []
    for plugin_id in sorted(archive.get_json("/plugins")):
        if plugin_id == "explorer.js":  # Orthanc lists its Explorer's extensions among the plugins.
            continue
        try:
            plugin: dict[str, Any] = archive.get_json(f"/plugins/{plugin_id}")
        except NotFound:
            continue
        if plugin.get("Version"):
            found.append((str(plugin["ID"]), str(plugin["Version"])))
    return found


def _disk(services: Services, archive_bytes: int) -> Disk | None:
    try:
        usage = shutil.disk_usage(services.storage_directory)
    except OSError:
        return None
    return Disk(usage.total, usage.free, archive_bytes)
