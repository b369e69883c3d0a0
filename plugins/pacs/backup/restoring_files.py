"""Files that the index names and the storage area lacks, out of the places: what one does not have, another may.

A place that came late, was replaced or lost something is no reason to give an image up: every place as set is asked,
the chosen one first. Each batch that can't be read is told, and the next one is tried.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pacs.backup import packs, points
from pacs.backup.errors import PlaceError
from pacs.backup.orthanc_index import Attachment
from pacs.backup.places import ESCROW, Place
from pacs.backup.plans import Plan
from pacs.backup.repair import BROKEN
from pacs.backup.site import Site
from pacs.backup.storage import Storage
from pacs.errors import PacsError

FOLDER = "restored"
_COLUMNS = ("StudyInstanceUID", "File", "Place")
_TOLD = 20


@dataclass
class Asked:
    """What came of asking places for files.

    Attributes
    ----------
    by_place : which files each had; a place without a file among them was asked, too.
    faults : why a place, or a batch of it, could not be read; by place.
    """

    by_place: dict[str, set[str]] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def shares(self, word: str) -> str:
        """Return how many are where, in words: 3 at disk, 1 at clinic."""
        return ", ".join(f"{len(those)} {word} {name}" for name, those in self.by_place.items() if those)

    @property
    def told_faults(self) -> str:
        """The first fault of each place, in words."""
        return " ".join(faults[0] for faults in self.faults.values())


class FilesRestore:
    """Every file that the index names and the storage area lacks or has in another size; newest images first.

    Parameters
    ----------
    places : are asked in this order, each for what those before it did not have.
    """

    def __init__(self, site: Site, places: Sequence[Place]) -> None:
        self._site = site
        self._places = places
        self._storage = Storage(site.settings.storage)

    def plan(self) -> Plan:
        """Tell what is missing. The index must be there."""
        missing = self._missing()
        first, *others = [place.name for place in self._places]
        size = sum(one.size_bytes for one in missing)
        steps = [f"fetch {len(missing)} files ({size} bytes), newest first, from {first}"]
        steps += [f"look for what {first} lacks at {', then at '.join(others)}"] if others else []
        steps.append(f"list what did not come from {first}, and what no place has, in {self._folder}")
        kept = ["what is there already; a file of another size than the index says is put aside, and kept"]
        return Plan("Missing files back from the backup", steps, [], kept)

    def do(self) -> str:
        """Fetch. Raise PlaceError: the first place could not be read whole, and files are left; they may be there."""
        missing = self._missing()
        left = {one.uuid: one for one in missing}
        asked, total = Asked(), len(left)
        for place in self._places:
            if left:
                self._ask(place, left, asked)
        _leave_out_doubles(self._places, asked)
        first = self._places[0].name
        listed = self._list(missing, asked, first)
        self._site.runs.audit(
            "files restored", place=first, files=total - len(left), still_missing=len(left),
            by_place={name: len(those) for name, those in asked.by_place.items()}, listed=listed.name if listed else "",
        )  # fmt: skip
        words = f"{total - len(left)} files are back{': ' if len(left) < total else ''}{asked.shares('from')}."
        if left:
            names = ", ".join(sorted(left)[:_TOLD])
            words += f" Of {len(left)} there is no whole copy at {', '.join(asked.by_place)}: {names}."
        words += f" {listed} lists them." if listed else ""
        words += f" {asked.told_faults}" if asked.faults else ""
        if left and first in asked.faults:
            raise PlaceError(words, remedy="Again when it answers: what is there is not fetched anew.")
        return words

    @property
    def _folder(self) -> Path:
        return self._site.settings.state / FOLDER

    def _missing(self) -> list[Attachment]:
        """Return what is missing or has another size: a restore that was cut leaves a file without its end."""
        sizes = self._storage.sizes()
        with self._site.index() as index:
            suspects = [one for one in index.paged() if sizes.get(one.uuid) != one.size_bytes]
        return [one for one in suspects if not self._is_whole(one)]  # some came since they were listed

    def _ask(self, place: Place, left: dict[str, Attachment], asked: Asked) -> None:
        """Fetch what a place has of what is left, and note what came."""
        came = asked.by_place.setdefault(place.name, set())
        try:
            for batch in points.batches(place):
                if not left:
                    return
                try:
                    self._fetch(batch, left, came)
                except PacsError as fault:
                    asked.faults.setdefault(place.name, []).append(f"Batch {batch.name}: {fault}")
                    if place.settings.write_only:
                        return
                    place.require_reachable()  # else each batch would be waited for
        except PacsError as fault:
            asked.faults.setdefault(place.name, []).append(str(fault))

    def _fetch(self, batch: points.StoredBatch, left: dict[str, Attachment], came: set[str]) -> None:
        names = names_in(batch)
        wanted = names & left.keys()
        for uuid in wanted:
            # tar leaves alone what is there. Cut here, the file is missing, and the next run fetches it.
            if self._storage.path(uuid).exists() and not self._is_whole(left[uuid]):
                self._storage.put_aside(uuid, BROKEN)
        try:
            if wanted:
                packs.extract(batch.repository, batch.snapshot.snapshot_id, self._storage.folder, names - wanted)
        finally:
            whole = {uuid for uuid in wanted if self._is_whole(left[uuid])}
            for uuid in wanted - whole:  # the half that was written before the fault
                self._storage.path(uuid).unlink(missing_ok=True)
            for uuid in whole:
                left.pop(uuid)
            came |= whole

    def _is_whole(self, one: Attachment) -> bool:
        try:
            return self._storage.path(one.uuid).stat().st_size == one.size_bytes
        except FileNotFoundError:
            return False

    def _list(self, missing: list[Attachment], asked: Asked, first: str) -> Path | None:
        """Write down what came from elsewhere than the first place, and what no place has; None: nothing."""
        came_from = {uuid: name for name, those in asked.by_place.items() for uuid in those}
        those = [one for one in missing if came_from.get(one.uuid) != first]
        if not those:
            return None
        with self._site.index() as index, index.reading() as reading:
            studies = reading.studies_of(one.resource for one in those)
        uids = {resource: study.study_instance_uid for resource, study in studies.items()}
        rows = [(uids.get(one.resource, ""), one.uuid, came_from.get(one.uuid, "")) for one in those]
        text = io.StringIO()
        csv.writer(text).writerows([_COLUMNS, *sorted(rows)])
        path = self._folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        packs.write_durably(path, text.getvalue())
        return path


def names_in(batch: points.StoredBatch) -> set[str]:
    """Return the names of a batch's files, by its lists."""
    lists = packs.texts(batch.repository, batch.snapshot.snapshot_id, packs.LISTS)
    return {line.partition(" ")[0] for _, text in lists for line in text.splitlines()}


def look_for(places: Sequence[Place], names: set[str]) -> Asked:
    """Tell which of some files the places have, each asked for what those before it have not; nothing is fetched."""
    asked, left = Asked(), set(names)
    for place in places:
        if not left:
            break
        found = asked.by_place.setdefault(place.name, set())
        try:
            for batch in points.batches(place):
                here = left & names_in(batch)
                found |= here
                left -= here
        except PacsError as fault:
            asked.faults[place.name] = [str(fault)]
    _leave_out_doubles(places, asked)
    return asked


def _leave_out_doubles(places: Sequence[Place], asked: Asked) -> None:
    """Tell nothing of a write-only place that was read by another way in: its keeper lets that in at another port."""
    for place in places:
        if place.settings.write_only and place.name in asked.faults:
            read = [one for one in places if one.name in asked.by_place.keys() - asked.faults.keys()]
            with suppress(PacsError):
                own = place.repository(ESCROW).identity()
                if any(own == one.repository(ESCROW).identity() for one in read):
                    del asked.faults[place.name], asked.by_place[place.name]
