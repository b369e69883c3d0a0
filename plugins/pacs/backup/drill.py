"""The restore drill: a backup is good when it was restored. All of a restore point, in a scratch place of its own.

The database is brought to the point and its rows are counted; every file of every batch is read out of the backup, its
size and hash compared with the database; some studies are opened by DICOMweb in a scratch Orthanc without a network.
Files are compared as they stream by: a drill of terabytes needs scratch space for the database and those studies alone.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from pacs.backup import database, isolation, packs, points, programs, scratch
from pacs.backup.errors import Damage
from pacs.backup.orthanc_index import OrthancIndex
from pacs.backup.places import Place
from pacs.backup.points import RestorePoint
from pacs.backup.scratch import ScratchPostgresql
from pacs.backup.settings import BackupSettings
from pacs.backup.storage import Storage, measure
from pacs.errors import PacsError
from pacs.processes.scratch import Scratch

_HTTP_PORT = 18042
_LISTED = 500
_PLUGINS = "/usr/share/orthanc/plugins"
_SECONDS_OF_TRIAL = 3600


@dataclass
class DrillResult:
    """What a drill found.

    Attributes
    ----------
    steps : seconds of each step.
    differences : rows counted at the point that are not the same now, as {name: [then, now]}.
    missing, wrong, orphans : files as {uuid, study}, the first ones; the counts are whole.
    faults : whatever kept a part from being tried, one sentence each.
    """

    place: str
    began: str
    point: str = ""
    lsn: str = ""
    ended: str = ""
    totals: dict[str, int] = field(default_factory=dict)
    differences: dict[str, list[int]] = field(default_factory=dict)
    checked_files: int = 0
    checked_bytes: int = 0
    missing_count: int = 0
    wrong_count: int = 0
    orphan_count: int = 0
    missing: list[dict[str, str]] = field(default_factory=list)
    wrong: list[dict[str, str]] = field(default_factory=list)
    orphans: list[dict[str, str]] = field(default_factory=list)
    studies_opened: int = 0
    studies_failed: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        """True when all that the database names was there and right. Orphans are no fault."""
        found = self.missing_count or self.wrong_count or self.differences or self.studies_failed or self.faults
        return bool(self.ended) and not found

    def as_json(self) -> dict[str, Any]:
        """Return it for a file."""
        return {**asdict(self), "good": self.is_good}


class Drill:
    """One drill at one place. `run` never raises for what is wrong with the backup: that is its result."""

    def __init__(self, settings: BackupSettings, place: Place) -> None:
        self._settings = settings
        self._place = place
        self.result = DrillResult(place.name, datetime.now(UTC).isoformat(timespec="seconds"))

    def run(self) -> DrillResult:
        """Do it; nothing is left of the scratch afterwards."""
        scratch.require_tools()
        room = Scratch(self._settings.work / "scratch")
        try:
            self._try_all(room.new_folder())
        except PacsError as fault:
            self.result.faults.append(str(fault))
        except psycopg.Error as fault:
            self.result.faults.append(f"The restored database answered: {str(fault).splitlines()[0]}")
        finally:
            with self._timed("remove"):
                room.close()
        self.result.ended = datetime.now(UTC).isoformat(timespec="seconds")
        return self.result

    def _try_all(self, folder: Path) -> None:
        with self._timed("fetch database"):
            copy = database.fetch(self._place, folder / "pgbackrest")
        cluster = ScratchPostgresql(self._settings.database, folder / "pgbackrest", folder)
        point = points.newest(points.of(self._place, since=copy.since), cluster.log().reaches)
        self.result.point, self.result.lsn = point.at.isoformat(timespec="seconds"), point.lsn
        with self._timed("restore database"):
            cluster.restore(point.target)
        with self._timed("replay log"):
            running = cluster.running()
            running.__enter__()
        try:
            self._look_at(cluster, folder, point)
        finally:
            running.__exit__(None, None, None)

    def _look_at(self, cluster: ScratchPostgresql, folder: Path, point: RestorePoint) -> None:
        name = self._settings.database.orthanc
        with OrthancIndex(cluster.url(name)) as index:
            with index.reading() as reading:
                self.result.totals = reading.totals()
                studies = reading.random_studies(self._settings.drill_studies)
                wanted = {one.uuid for study in studies for one in reading.attachments_below(study.orthanc_study_id)}
            self._count(point)
            with self._timed("files"), cluster.connect(name) as connection:
                self._read_files(connection, wanted, Storage(folder / "storage"))
                self._compare(connection, index)
        if self._settings.database.plugins:
            self._count_plugins(cluster)
        with self._timed("open studies"):
            self._open(cluster, folder, [one.study_instance_uid for one in studies])

    def _count(self, point: RestorePoint) -> None:
        for name, then in point.totals.items():
            now = self.result.totals.get(name, 0)
            if now != then:
                self.result.differences[name] = [then, now]

    def _count_plugins(self, cluster: ScratchPostgresql) -> None:
        """Find whether a table of the plugins is lost: each is asked for its rows."""
        with cluster.connect(self._settings.database.plugins) as connection:
            names = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
            ).fetchall()
            for (name,) in names:
                rows = connection.execute(
                    psycopg.sql.SQL("SELECT COUNT(*) FROM {}").format(psycopg.sql.Identifier(name))
                )
                self.result.totals[f"pacs.{name}"] = int((rows.fetchone() or [0])[0])
        if not names:
            self.result.faults.append("The plugins' database has no tables.")

    def _read_files(self, connection: psycopg.Connection[Any], wanted: set[str], storage: Storage) -> None:
        """Read every file out of the backup into a table of sizes and hashes; keep those of the studies to open."""
        connection.execute("CREATE TEMP TABLE found (uuid text, size bigint, md5 text)")
        for batch in points.batches(self._place):
            rows = connection.cursor()
            try:
                with rows.copy("COPY found FROM STDIN") as copy:
                    for uuid, size, md5 in self._measured(batch, wanted, storage):
                        copy.write_row((uuid, size, md5))
            except PacsError as fault:
                self.result.faults.append(f"Batch {batch.name}: {fault}")
        connection.execute("CREATE INDEX ON found (uuid)")

    def _measured(
        self, batch: points.StoredBatch, wanted: set[str], storage: Storage
    ) -> Iterator[tuple[str, int, str]]:
        for member in packs.members(batch.repository, batch.snapshot.snapshot_id):
            if member.uuid in wanted:
                path = storage.path(member.uuid)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(member.content.read())
                with path.open("rb") as file:
                    found = measure(file)
            else:
                found = measure(member.content)
            self.result.checked_files += 1
            self.result.checked_bytes += found.size_bytes
            yield member.uuid, found.size_bytes, found.md5

    def _compare(self, connection: psycopg.Connection[Any], index: OrthancIndex) -> None:
        """Compare what the database names with what the backup has; a file is right if one copy of it is."""
        right = "f.uuid = a.uuid AND f.size = a.compressedsize AND COALESCE(a.compressedhash, '') IN ('', f.md5)"
        bad = f"SELECT a.id, a.uuid, EXISTS (SELECT FROM found f WHERE f.uuid = a.uuid) FROM attachedfiles a WHERE NOT EXISTS (SELECT FROM found f WHERE {right})"  # noqa: S608, E501
        rows = connection.execute(bad).fetchall()
        with index.reading() as reading:
            studies = reading.studies_of(row[0] for row in rows)
        for resource, uuid, is_there in rows:
            study = studies.get(resource)
            entry = {"uuid": str(uuid), "study": study.study_instance_uid if study else ""}
            (self.result.wrong if is_there else self.result.missing).append(entry)
        orphans = "SELECT uuid FROM found f WHERE NOT EXISTS (SELECT FROM attachedfiles a WHERE a.uuid = f.uuid)"
        self.result.orphans = [{"uuid": row[0], "study": ""} for row in connection.execute(orphans).fetchall()]
        for kind in ("missing", "wrong", "orphan"):
            field_name = "orphans" if kind == "orphan" else kind
            those = getattr(self.result, field_name)
            setattr(self.result, f"{kind}_count", len(those))
            setattr(self.result, field_name, those[:_LISTED])

    def _open(self, cluster: ScratchPostgresql, folder: Path, studies: list[str]) -> None:
        """Have a scratch Orthanc without a network show some studies."""
        for name in ("storage", "temporary"):
            (folder / name).mkdir(exist_ok=True)
        configuration, task, answers = folder / "orthanc.json", folder / "task.json", folder / "answers.json"
        configuration.write_text(
            json.dumps(_scratch_configuration(folder, cluster.url(self._settings.database.orthanc)))
        )
        task.write_text(json.dumps({"configuration": str(configuration), "studies": studies, "answers": str(answers)}))
        programs.run(isolation.alone([sys.executable, "-P", "-m", "pacs.backup.trial", task]))
        told = json.loads(answers.read_text(encoding="utf-8"))
        self.result.studies_opened, self.result.studies_failed = len(told["opened"]), told["faults"]
        self.result.steps["Orthanc answers"] = round(told["served_seconds"], 2)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.result.steps[step] = round(time.monotonic() - began, 2)


def _scratch_configuration(folder: Path, url: str) -> dict[str, Any]:
    """Return the configuration of an Orthanc that shows and does nothing else: no routing, no jobs, no DICOM port."""
    return {
        "HttpPort": _HTTP_PORT,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "ExecuteLuaEnabled": False,
        "SaveJobs": False,
        "StableAge": 86_400,
        "StorageDirectory": str(folder / "storage"),
        "TemporaryDirectory": str(folder / "temporary"),
        "Plugins": [f"{_PLUGINS}/libOrthancPostgreSQLIndex.so", f"{_PLUGINS}/libOrthancDicomWeb.so"],
        "PostgreSQL": {"EnableIndex": True, "EnableStorage": False, "ConnectionUri": url, "Lock": False},
        "DicomWeb": {"EnableMetadataCache": False},
    }


def require_good(result: DrillResult) -> None:
    """Raise Damage with what is wrong, unless the drill was good."""
    if result.is_good:
        return
    words = list(result.faults)
    for what, number in (("missing", result.missing_count), ("with a wrong hash", result.wrong_count)):
        if number:
            those = result.missing if what == "missing" else result.wrong
            words.append(
                f"{number} files {what}: "
                + ", ".join(f"{one['uuid']} (study {one['study'] or 'none'})" for one in those[:20])
            )
    words += [f"{name}: {now} rows, {then} at the point" for name, (then, now) in result.differences.items()]
    words += [f"study {uid}: {fault}" for uid, fault in result.studies_failed.items()]
    raise Damage("The drill found: " + "; ".join(words))
