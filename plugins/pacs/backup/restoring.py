"""The commands `restore ...`: each makes its plan, and does it only when it is told to.

restore database --to "2026-11-22 11:45:00+00"   back to a moment, from here or from a place
restore files                                    every file that the index names and the storage area lacks
restore study UID, restore patient ID            as a restore point has them, stored into the running archive
restore folders                                  rules, targets and reports that are missing
restore configuration --key offline.key          what was in the escrow, into a folder
restore server                                   a new machine: folders, database, then files
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pacs.backup import consistency, copies, database, escrow, moments, programs
from pacs.backup.aside import Aside
from pacs.backup.database import DatabaseBackup, recovery_options
from pacs.backup.errors import BackupError, ProgramError
from pacs.backup.places import Place
from pacs.backup.plans import Plan
from pacs.backup.reached import reached
from pacs.backup.runs import DATABASE_LOCK, FILES_LOCK, LOG_LOCK, PRUNE_LOCK
from pacs.backup.site import Site

# Notes of what a restore has moved aside; there as long as it is not done.
_NOTES = "restore.json"
_ASK_AGAIN_SECONDS = 0.2
_ELSEWHERE = "`points` tells which place goes back to which moments: --place."


class DatabaseRestore:
    """PostgreSQL back to a moment, with all that is in it: Orthanc's index, worklist, HL7 journal, users.

    Parameters
    ----------
    to : a moment as PostgreSQL reads it, or the LSN of a restore point; "": as late as the log goes.
    place : where pgBackRest's repository comes from; None: from the one on this machine.
    """

    def __init__(self, site: Site, to: str, place: Place | None) -> None:
        self._site = site
        self._settings = site.settings.database
        self._place = place
        self._target = _target(to)
        self._aside = Aside(site.settings.state / _NOTES)

    def plan(self) -> Plan:
        """Tell what will be done."""
        cluster, services = self._settings.cluster, self._site.settings.services
        until = next(iter(self._target.values()), "the end of the log")
        source = f"{self._place.name}, {self._copy_at(self._place)}" if self._place else self._repository_here()
        steps = [
            "stop the backups, and let none begin until this is done",
            f"restore {cluster} from {source}, beside the one that is there",
            f"stop {services.orthanc or 'Orthanc'} and {services.postgresql or 'PostgreSQL'}",
            f"move {cluster} aside (it is kept), and the restored one into its place",
            f"start PostgreSQL, which replays the log to {until}, then Orthanc",
        ]
        if moved := [str(former) for former in self._aside.moved.values() if former and former.exists()]:
            steps.insert(1, f"take back what a restore that was cut has moved, unless another stands there: {moved}")
        losses = [f"whatever was committed after {until}: orders, messages, changes of studies"] if self._target else []
        kept = [
            "every image: files are not touched. `restore orphans` stores those again that came after the moment",
            "images deleted after that moment are named again: `restore files` brings their files back",
        ]
        return Plan(f"PostgreSQL back to {until}", steps, losses, kept)

    def do(self) -> str:
        """Do it, as root. Raise BackupError: PostgreSQL still runs, or pgBackRest fails; nothing was changed then.

        Cut at any moment it may be called again, also to another moment: it then begins with what was there before.
        """
        with self._without_backups():
            self._aside.take_back()
            return self._do()

    @contextmanager
    def _without_backups(self) -> Iterator[None]:
        """Have no backup run: its database would go away under it, or half of a restore be sent. Raise Busy."""
        if units := self._site.settings.services.backups:
            programs.run(["systemctl", "stop", units])
        with ExitStack() as locks:
            for name in (FILES_LOCK, DATABASE_LOCK, LOG_LOCK, PRUNE_LOCK):
                locks.enter_context(self._site.runs.lock(name))
            yield

    def _do(self) -> str:
        services, cluster = self._site.settings.services, self._settings.cluster
        if not services.postgresql:
            self._require_stopped()
        # Before anything stops: a place that does not answer changes nothing, nor does a moment that is out of reach.
        fetched = self._fetched_repository(self._place) if self._place else None
        repository = fetched or self._settings.repository
        self._require_reached(repository)
        beside = self._empty_cluster()
        try:
            # Both take seconds, and neither waits for the other.
            with ThreadPoolExecutor(1) as thread:
                restoring = thread.submit(self._fill, beside, repository)
                self._stop()
            restoring.result()
        except BackupError:
            shutil.rmtree(beside)
            self._start_again()
            raise
        if fetched:
            self._replace_repository(fetched)
        self._aside.move(cluster)
        beside.rename(cluster)
        self._aside.end()
        if services.postgresql:
            programs.run(["systemctl", "start", services.postgresql])
            self._wait_for_the_moment(services.postgresql)
        if services.orthanc:
            programs.run(["systemctl", "start", services.orthanc])
        self._site.runs.audit(
            "database restored", target=str(self._target), place=self._place.name if self._place else ""
        )
        return f"{cluster} is restored."

    def _empty_cluster(self) -> Path:
        """Make the folder of the cluster that is to be, beside the one that is there."""
        beside = self._settings.cluster.with_name(f"{self._settings.cluster.name}.restored")
        shutil.rmtree(beside, ignore_errors=True)  # of an attempt that was cut off
        beside.mkdir(mode=0o700, parents=True)
        return beside

    def _fill(self, beside: Path, repository: Path) -> None:
        """Have pgBackRest restore into a folder; as root it gives files to whom they belonged. Raise ProgramError."""
        command = ["pgbackrest", f"--config={self._settings.configuration}", f"--stanza={self._settings.stanza}"]
        command += ["--log-level-file=off", f"--process-max={os.cpu_count() or 1}"]
        # As environment they are not written into the restored cluster, which asks for its log when both are in place.
        paths = {"PGBACKREST_PG1_PATH": str(beside), "PGBACKREST_REPO1_PATH": str(repository)}
        words = [*command, "restore", *recovery_options(self._target)]
        programs.run(words, environment=paths)

    def _stop(self) -> None:
        """Stop Orthanc and PostgreSQL. Raise BackupError: it still runs."""
        services = self._site.settings.services
        for unit in filter(None, (services.orthanc, services.postgresql)):
            programs.run(["systemctl", "stop", unit])
        self._require_stopped()

    def _require_stopped(self) -> None:
        """Raise BackupError: PostgreSQL runs."""
        cluster = self._settings.cluster
        if (cluster / "postmaster.pid").exists():
            raise BackupError(f"PostgreSQL runs on {cluster}.", remedy="Stop it first.")

    def _start_again(self) -> None:
        """Start what was stopped for nothing."""
        services = self._site.settings.services
        for unit in filter(None, (services.postgresql, services.orthanc)):
            with suppress(ProgramError):
                programs.run(["systemctl", "start", unit])

    def _wait_for_the_moment(self, unit: str) -> None:
        """Wait while PostgreSQL replays its log: until then it takes no writes. Raise BackupError: it ended."""
        query = "--command=SELECT pg_is_in_recovery()"
        words = ["--no-psqlrc", "--tuples-only", "--no-align", "--dbname=postgres", query]
        ask = programs.as_owner(self._settings.cluster, [self._settings.programs / "psql", *words])
        while True:
            with suppress(ProgramError):  # it does not answer yet
                if programs.run(ask).strip() == "f":
                    return
            try:
                programs.run(["systemctl", "is-active", unit])
            except ProgramError as error:
                raise BackupError(
                    "PostgreSQL ended before the moment was reached.",
                    remedy=f"journalctl -u {unit} says why; the former cluster stands beside {self._settings.cluster}.",
                ) from error
            time.sleep(_ASK_AGAIN_SECONDS)

    def _fetched_repository(self, place: Place) -> Path:
        """Have pgBackRest's repository here as the place has it, beside the one that is in use."""
        repository = self._settings.repository
        fetched = repository.with_name(f"{repository.name}.fetched")
        shutil.rmtree(fetched, ignore_errors=True)  # of an attempt that was cut off
        fetched.mkdir(mode=0o750)
        database.fetch(place, fetched, self._moment)
        return fetched

    def _copy_at(self, place: Place) -> str:
        """Tell which copy of a place it is. Raise BackupError: none goes back to the moment."""
        return f"as it was sent on {copies.choose(place, self._moment).snapshot.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

    def _repository_here(self) -> str:
        if self._settings.repository.exists() or self._settings.repository not in self._aside.moved:
            self._require_reached(self._settings.repository)
        return str(self._settings.repository)

    def _require_no_hole(self) -> None:
        """Raise BackupError when the log here lacks a piece that the moment needs."""
        log = DatabaseBackup(self._site.settings).log()
        known = reached(self._site.settings.state, log)
        if not any(since < until for since, until in known):
            return  # what was noted is lost: nobody can tell
        if not log.gap():
            known[-1] = (known[-1][0], datetime.now(UTC))
        if self._moment and not any(since <= self._moment <= until for since, until in known):
            raise BackupError(
                f"The log here has no way to {self._moment}. {moments.tell('This server', known)}", remedy=_ELSEWHERE
            )

    def _require_reached(self, repository: Path) -> None:
        """Raise BackupError when a repository of pgBackRest does not go back to the moment."""
        here = DatabaseBackup(self._site.settings, repository)
        if "lsn" in self._target and not here.log().reaches(self._target["lsn"]):
            raise BackupError(f"{repository} does not reach {self._target['lsn']}.", remedy=_ELSEWHERE)
        first = datetime.fromisoformat(str(here.newest()["first"]))
        if self._moment and not first <= self._moment <= datetime.now(UTC):
            raise BackupError(f"{repository} goes back to {first} and no further than now.", remedy=_ELSEWHERE)
        if self._moment and repository == self._settings.repository:
            self._require_no_hole()

    @property
    def _moment(self) -> datetime | None:
        return datetime.fromisoformat(self._target["time"]) if "time" in self._target else None

    def _replace_repository(self, fetched: Path) -> None:
        """Take what was fetched into use; the former is kept."""
        repository = self._settings.repository
        if owned := next((path for path in (repository, self._settings.cluster) if path.exists()), None):
            programs.run(["chown", "-R", "--reference", owned, fetched])
        self._aside.move(repository)
        fetched.rename(repository)


def orphans_plan(site: Site) -> tuple[Plan, list[Path]]:
    """Tell which files the index does not name, to be stored again: images that came after a restored moment."""
    with site.index() as index:
        finding = consistency.compare(index, site.storage, young_seconds=-1)
    paths = [site.storage.path(uuid) for uuid in finding.orphans]
    what = f"{len(paths)} orphans ({finding.orphan_bytes} bytes)"
    steps = [f"send {what} to Orthanc, which stores those that are DICOM and new"]
    steps.append("move those that were stored into quarantine: their content is in the archive under a new name")
    return Plan("Orphans stored again", steps, [], ["orphans that are no DICOM stay where they are"]), paths


def configuration_plan(place: Place, folder: Path) -> Plan:
    """Tell what a restore of the configuration does."""
    steps = [
        f"fetch the newest escrow of {place.name}",
        "open it with the offline key",
        f"write what is in it below {folder}",
    ]
    losses = ["files of the same name in that folder"] if folder == Path("/") else []
    return Plan("Configuration, authority, LUKS header and secrets out of the escrow", steps, losses)


def restore_configuration(site: Site, place: Place, key: Path, folder: Path) -> str:
    """Write what is in the escrow below a folder. Raise BackupError: none there, or another key."""
    room = site.settings.work / "escrow"
    room.mkdir(parents=True, exist_ok=True, mode=0o700)
    sealed_at = escrow.fetch(place, room)
    names = escrow.open_envelope(room / escrow.ENVELOPE, key, folder)
    site.runs.audit("configuration restored", place=place.name, sealed_at=sealed_at.isoformat(), folder=str(folder))
    return f"{len(names)} files and folders of {sealed_at:%Y-%m-%d %H:%M} UTC are below {folder}."


def _target(to: str) -> dict[str, str]:
    if not to:
        return {}
    high, slash, low = to.partition("/")
    if slash and all(part and set(part) <= set("0123456789abcdefABCDEF") for part in (high, low)):
        return {"lsn": to}
    return {"time": moments.read(to).isoformat(sep=" ")}
