"""Copies of studies with other attributes, by rule: made whole whatever dies meanwhile, told of, and undone on demand.

A copy's UIDs follow from the study's and from the changes (RFC 9562 version 5, below 2.25: DICOM PS3.5 section B.2),
and it is made instance by instance. So one that was cut off is continued, a second try makes nothing twice, images that
come late get into the copy, and it is known which images of it are ours to remove. The removing is a task of the same
queue and key as the making: the two never run at the same time. It withdraws what was still to be made.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.errors import ArchiveError, Conflict, NotFound
from pacs.ports import Archive, ChangeKind, ResourceLevel
from pacs.routing.actions.orders import TaskOrder, Tasks
from pacs.routing.decisions.models import CopyRecord
from pacs.routing.delivery.instances import OutgoingInstance, instance_of, instances_of
from pacs.routing.rules.ruleset import Subject
from pacs.routing.rules.tasks import Task
from pacs.studies import ChangeFeed, FeedChange
from pacs.work.queue import Clock, utc_now

_log = logging.getLogger(__name__)
_COPIES = uuid.UUID("b1c5a3f0-3d0e-5a51-8c0e-0d7a52f6e9aa")
_MAKE, _REMOVE = "set", "remove copy"
# Others, such as "FilteredOut", are no fault to Orthanc.
_STORED = frozenset({"Success", "AlreadyStored"})


class StudyCopies:
    """The handler of `set`, and the record of what it made. Safe to use from any thread.

    Handlers raise ArchiveError and DatabaseError when these can't answer: what was begun is continued by the next try.
    """

    def __init__(self, database: Database, archive: Archive, tasks: Tasks, *, clock: Clock = utc_now) -> None:
        self._database = database
        self._archive = archive
        self._tasks = tasks
        self._clock = clock

    def register(self) -> None:
        """Have copies made and removed here."""
        self._tasks.register(_MAKE, self.make)
        self._tasks.register(_REMOVE, self.remove)

    def make(self, order: TaskOrder) -> Mapping[str, Any]:
        """Store a copy of a study with other attributes, or what a copy that there is lacks; never of such a copy.

        Into a copy that was whole goes the `instance` of the order, where it names one, without a look at all others.
        """
        changes = dict(order.parameters["changes"])
        naming = _Naming(order.orthanc_study_id, changes)
        # Before anything is listed: each image of a copy, and of a study whose copy was undone, may ask for it.
        if self._known(order.study_instance_uid) is not None:
            return {"copied": False, "reason": "it is a copy itself"}
        before = self._known(naming.uid(order.study_instance_uid))
        if before is not None and before.undone_at is not None and not order.actor:
            return _undone(before)
        try:
            single = self._single(order, before)
            instances = [single] if single else instances_of(self._archive, order.orthanc_study_id, None)
        except NotFound:
            return {"copied": False, "reason": "the study is gone"}
        with self._database.session(write=True) as session:
            # Before the first image: whoever meets one knows that it is of a copy.
            record = self._record(session, order, changes, naming.uid(order.study_instance_uid))
            if record.undone_at is not None:
                return _undone(record)
            copy_id, copy_uid = record.id, record.copy_study_instance_uid
        # One of many that come: asked for by itself, or a study would be listed as often as it has images.
        there = self._instance_there(naming.uid(single.sop_instance_uid)) if single else self._there(copy_uid)
        made = self._complete(copy_id, instances, naming, order.study_instance_uid, there)
        with self._database.session(write=True) as session:
            record = session.get_one(CopyRecord, copy_id)
            if record.undone_at is not None:
                return _undone(record)
            record.made_at, record.instances = self._clock(), record.instances + made if single else len(instances)
        return {"copied": True, "study_instance_uid": copy_uid, "images": made}

    def follow(self, feed: ChangeFeed) -> None:
        """Subscribe to the archive's changes: a copy that stands gets what came late, whichever rule made it."""
        feed.subscribe({ChangeKind.STABLE_STUDY}, self._on_stable)

    def _on_stable(self, session: Session, change: FeedChange) -> None:
        standing = select(CopyRecord).where(
            CopyRecord.orthanc_study_id == change.resource_id, CopyRecord.undone_at.is_(None)
        )
        for record in session.scalars(standing):
            subject = Subject(record.orthanc_study_id, record.study_instance_uid)
            self._tasks.put(session, subject, record.rule, Task(_MAKE, {"changes": dict(record.changes)}))

    def about(self, orthanc_study_id: str, study_instance_uid: str) -> Sequence[CopyRecord]:
        """Return the copies of a study, and what tells that it is one itself, oldest first."""
        found = select(CopyRecord).where(
            (CopyRecord.orthanc_study_id == orthanc_study_id)
            | (CopyRecord.copy_study_instance_uid == study_instance_uid)
        )
        with self._database.session() as session:
            return session.scalars(found.order_by(CopyRecord.id)).all()

    def undo(self, copy_id: int, *, actor: str) -> CopyRecord:
        """Have the images of a copy removed, and return it. The study stays as it came, and so do others' images.

        Rules don't make it again by themselves; by hand they do.

        Raises
        ------
        NotFound : there is no such copy.
        Conflict : the study that it was made of is gone: the copy is all that is left.
        """
        with self._database.session() as session:
            record = session.get(CopyRecord, copy_id)
        if record is None:
            raise NotFound(f"There is no copy {copy_id}.", remedy="Open the journey of the study: it lists its copies.")
        try:
            instances_of(self._archive, record.orthanc_study_id, None)
        except NotFound:
            raise Conflict(
                "The study that this copy was made of is not in the archive any more: the copy is all that is left.",
                remedy="If its images are really not wanted, delete the copy itself.",
            ) from None
        with self._database.session(write=True) as session:
            kept = session.get_one(CopyRecord, copy_id, with_for_update=True)
            # Now, and not when the images go: no rule that is asked meanwhile makes it again.
            kept.undone_at, kept.undone_by = self._clock(), actor
            subject, changes = Subject(kept.orthanc_study_id, kept.study_instance_uid), dict(kept.changes)
            # What keeps failing, or was ordered by hand before, would hold up the removing, or make it again.
            self._tasks.withdraw(session, kept.orthanc_study_id, Task(_MAKE, {"changes": changes}))
            removing = Task(_REMOVE, {"copy": copy_id, "changes": changes})
            self._tasks.put(session, subject, kept.rule, removing, actor=actor)
        return kept

    def remove(self, order: TaskOrder) -> Mapping[str, Any]:
        """Remove the images of a copy that are ours. The handler of what `undo` puts."""
        copy_id = int(order.parameters["copy"])
        with self._database.session() as session:
            record = session.get_one(CopyRecord, copy_id)
        try:
            instances = instances_of(self._archive, record.orthanc_study_id, None)
        except NotFound:
            with self._database.session(write=True) as session:
                kept = session.get_one(CopyRecord, copy_id)
                kept.undone_at, kept.undone_by = None, ""
            return {"removed": 0, "reason": "the study is gone: the copy is all that is left"}
        naming = _Naming(record.orthanc_study_id, record.changes)
        there = self._there(record.copy_study_instance_uid)
        ours = there.keys() & {naming.uid(one.sop_instance_uid) for one in instances}
        for uid in ours:
            self._remove(there[uid])
        with self._database.session(write=True) as session:
            kept = session.get_one(CopyRecord, copy_id)
            # One that was ordered by hand before may have been made in between.
            kept.undone_at, kept.undone_by = kept.undone_at or self._clock(), kept.undone_by or order.actor
            kept.made_at, kept.instances = None, 0
        _log.info("copy %d of rule %s: undone by %s, %d images", copy_id, record.rule, order.actor, len(ours))
        return {"removed": len(ours)}

    # -- one copy ------------------------------------------------------------------------------------------------------

    def _record(self, session: Session, order: TaskOrder, changes: Mapping[str, str], uid: str) -> CopyRecord:
        record = _copy_of_uid(session, uid)
        if record is None:
            record = CopyRecord(
                orthanc_study_id=order.orthanc_study_id,
                study_instance_uid=order.study_instance_uid,
                copy_study_instance_uid=uid,
                rule=order.rule,
                actor=order.actor,
                changes=dict(changes),
                instances=0,
                began_at=self._clock(),
                undone_by="",
            )
            session.add(record)
            session.flush()
        elif order.actor and record.undone_at is not None:
            record.undone_at, record.undone_by, record.actor = None, "", order.actor
        return record

    def _known(self, copy_study_instance_uid: str) -> CopyRecord | None:
        found = select(CopyRecord).where(CopyRecord.copy_study_instance_uid == copy_study_instance_uid)
        with self._database.session() as session:
            return session.scalars(found).one_or_none()

    def _single(self, order: TaskOrder, before: CopyRecord | None) -> OutgoingInstance | None:
        """Return the instance that an order names, where the copy was whole before; None for all. Raises NotFound."""
        instance = order.parameters.get("instance")
        if instance is None or before is None or before.made_at is None:
            return None
        return instance_of(self._archive, order.orthanc_study_id, str(instance))

    def _there(self, study_instance_uid: str) -> dict[str, str]:
        """Return what there is of a study: Orthanc's identifiers by SOP Instance UID."""
        found: dict[str, str] = {}
        for one in self._archive.post_bytes("/tools/lookup", study_instance_uid.encode()):
            if one["Type"] == ResourceLevel.STUDY:
                instances = instances_of(self._archive, one["ID"], None)
                found |= {each.sop_instance_uid: each.orthanc_instance_id for each in instances}
        return found

    def _instance_there(self, sop_instance_uid: str) -> dict[str, str]:
        found = self._archive.post_bytes("/tools/lookup", sop_instance_uid.encode())
        return {sop_instance_uid: found[0]["ID"]} if found else {}

    def _complete(
        self,
        copy_id: int,
        instances: Sequence[OutgoingInstance],
        naming: _Naming,
        study_instance_uid: str,
        there: Mapping[str, str],
    ) -> int:
        """Store what is not there yet of a copy, until it is undone; return how many."""
        missing = [one for one in instances if naming.uid(one.sop_instance_uid) not in there]
        for number, one in enumerate(missing):
            if self._is_undone(copy_id):
                return number
            file = self._archive.post_for_bytes(
                f"/instances/{one.orthanc_instance_id}/modify",
                {"Replace": naming.replaced(study_instance_uid, one), "Force": True},
            )
            # One that was stored by a try that died here is there already, which Orthanc answers as a success.
            status = self._archive.post_bytes("/instances", file)["Status"]
            if status not in _STORED:
                raise ArchiveError(
                    f"An image of a copy was not stored: {status}.", remedy="See why images are refused here."
                )
        return len(missing)

    def _is_undone(self, copy_id: int) -> bool:
        with self._database.session() as session:
            return session.scalars(select(CopyRecord.undone_at).where(CopyRecord.id == copy_id)).one() is not None

    def _remove(self, orthanc_instance_id: str) -> None:
        try:
            self._archive.delete(f"/instances/{orthanc_instance_id}")
        except NotFound:
            return


class _Naming:
    """The UIDs of the copy of one study with some changes."""

    def __init__(self, orthanc_study_id: str, changes: Mapping[str, str]) -> None:
        self._changes = changes
        self._words = json.dumps([orthanc_study_id, changes], sort_keys=True)

    def uid(self, uid: str) -> str:
        return f"2.25.{uuid.uuid5(_COPIES, f'{uid} {self._words}').int}"

    def replaced(self, study_instance_uid: str, instance: OutgoingInstance) -> dict[str, str]:
        """Return what is another in the copy of an instance."""
        return {
            **self._changes,
            "StudyInstanceUID": self.uid(study_instance_uid),
            "SeriesInstanceUID": self.uid(instance.series_instance_uid),
            "SOPInstanceUID": self.uid(instance.sop_instance_uid),
        }


def _undone(record: CopyRecord) -> dict[str, Any]:
    return {"copied": False, "reason": f"{record.undone_by} has undone it"}


def _copy_of_uid(session: Session, study_instance_uid: str) -> CopyRecord | None:
    found = select(CopyRecord).where(CopyRecord.copy_study_instance_uid == study_instance_uid)
    return session.scalars(found.with_for_update()).one_or_none()
