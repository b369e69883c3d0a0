"""One study or one patient out of a backup, stored into the running archive as if it came again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pacs.archive_http import HttpArchive
from pacs.backup import database, moments, packs, points, scratch
from pacs.backup.errors import BackupError, Damage
from pacs.backup.orthanc_index import Attachment, OrthancIndex
from pacs.backup.places import Place
from pacs.backup.plans import Plan
from pacs.backup.points import RestorePoint
from pacs.backup.scratch import ScratchPostgresql
from pacs.backup.site import Site
from pacs.backup.storage import measure
from pacs.processes.scratch import Scratch


@dataclass(frozen=True)
class Chosen:
    """What is to be stored again.

    Attributes
    ----------
    present : how many of the images the archive has already; they are left as they are.
    """

    point: RestorePoint
    images: list[Attachment]
    studies: int
    present: int


class StudiesRestore:
    """Restores what a UID or a PatientID names, at the newest point of a place or at the last one before a moment."""

    def __init__(self, site: Site, place: Place, *, study: str = "", patient: str = "", to: str = "") -> None:
        self._site = site
        self._place = place
        self._study = study
        self._patient = patient
        self._until = moments.read(to) if to else None

    @contextmanager
    def chosen(self) -> Iterator[Chosen]:
        """Find the images by the database of the point, in a scratch copy that is gone after the block."""
        scratch.require_tools()
        room = Scratch(self._site.settings.work / "scratch")
        try:
            folder = room.new_folder()
            copy = database.fetch(self._place, folder / "pgbackrest", self._until)
            cluster = ScratchPostgresql(self._site.settings.database, folder / "pgbackrest", folder)
            known = points.of(self._place, until=self._until, since=copy.since)
            point = points.newest(known, cluster.log().reaches, counted=False)
            cluster.restore(point.target)
            with cluster.running(), OrthancIndex(cluster.url(self._site.settings.database.orthanc)) as index:
                yield self._find(index, point)
        finally:
            room.close()

    def plan(self, chosen: Chosen) -> Plan:
        """Tell what will be stored."""
        what = f"study {self._study}" if self._study else "the patient"
        size = sum(one.size_bytes for one in chosen.images)
        steps = [
            f"fetch {len(chosen.images)} images ({size} bytes) of {chosen.studies} studies from {self._place.name}",
            f"as they were at {chosen.point.at:%Y-%m-%d %H:%M:%S} UTC",
            "compare each with the hash that the database of that moment has",
            f"send them to {self._site.settings.orthanc_url}, which leaves the {chosen.present} that it has",
        ]
        return Plan(f"Restore of {what}", steps, [], ["everything in the archive: nothing is replaced or deleted"])

    def do(self, chosen: Chosen) -> str:
        """Store them. Raise Damage with what could not be: each image by its file's name."""
        wanted = {one.uuid: one for one in chosen.images}
        stored, faults = 0, []
        with HttpArchive(self._site.settings.orthanc_url) as archive:
            for member in self._members(set(wanted)):
                content = member.content.read()
                if not _is_right(content, wanted[member.uuid]):
                    faults.append(f"{member.uuid} is broken in this backup")
                elif member.uuid in wanted:
                    archive.post_bytes("/instances", content)
                    stored += 1
                    wanted.pop(member.uuid)
        self._site.runs.audit("studies restored", place=self._place.name, images=stored, missing=len(wanted))
        if wanted:
            left = ", ".join(sorted(wanted)[:20])
            raise Damage(f"{stored} images stored, {len(wanted)} not: {left}. {'; '.join(faults)}")
        return f"{stored} images are in the archive."

    def _find(self, index: OrthancIndex, point: RestorePoint) -> Chosen:
        with index.reading() as reading:
            tops = reading.find_studies(self._study) if self._study else reading.find_patients(self._patient)
            images = [one for top in tops for one in reading.attachments_below(top)]
            studies = set(reading.studies_of(one.resource for one in images).values())
        if not images:
            raise BackupError(f"Nothing of that name was in the archive at {point.at:%Y-%m-%d %H:%M:%S} UTC.")
        with self._site.index() as live, live.reading() as now:
            present = sum(len(now.attachments_below(one.orthanc_study_id)) for one in studies)
        return Chosen(point, images, len(studies), present)

    def _members(self, wanted: set[str]) -> Iterator[packs.Member]:
        left = set(wanted)
        for batch in points.batches(self._place):
            snapshot = batch.snapshot.snapshot_id
            for name, text in list(packs.texts(batch.repository, snapshot, packs.LISTS)):
                here = left & {line.partition(" ")[0] for line in text.splitlines()}
                if here:
                    yield from packs.single(batch.repository, snapshot, name, frozenset(here))
                    left -= here
            if not left:
                return


def _is_right(content: bytes, one: Attachment) -> bool:
    found = measure(BytesIO(content))
    return found.size_bytes == one.size_bytes and (not one.md5 or found.md5 == one.md5)


def store_orphans(site: Site, paths: list[Path]) -> str:
    """Store files that the index does not name once more; those that are in the archive then are put aside."""
    stored = set()
    with HttpArchive(site.settings.orthanc_url) as archive:
        for path in paths:
            content = path.read_bytes()
            if content[128:132] != b"DICM":
                continue
            archive.post_bytes("/instances", content)
            stored.add(path.name)
    with site.index() as index:
        # An image that was just coming in looked like one: its file stays where its row says.
        for name in stored.difference(one.uuid for one in index.paged()):
            site.storage.put_aside(name, "quarantine")
    site.runs.audit("orphans stored", files=len(stored))
    return f"{len(stored)} of {len(paths)} orphans are in the archive again."
