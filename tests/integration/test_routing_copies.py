"""Copies with other values (`set:`): one, whole, whatever dies meanwhile; told of; removed on demand."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.uid import generate_uid

from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.orthanc_alone import OrthancAlone
from pacs.database import Database
from pacs.errors import ArchiveError, Conflict, NotFound
from pacs.metrics import Metrics
from pacs.ports import ChangeKind, Json, ResourceLevel
from pacs.routing.actions.copies import StudyCopies
from pacs.routing.actions.orders import TaskOrder, Tasks
from pacs.routing.rules.figures import RuleFigures
from pacs.routing.rules.ruleset import Subject
from pacs.routing.rules.tasks import Task
from pacs.studies import ChangeFeed, FeedChange
from pacs.work import WorkState

pytest_plugins = ("fixtures.orthancs", "fixtures.postgresql", "fixtures.databases")

IMAGES = 6
CHANGES = {"InstitutionName": "Clínica Ñandutí", "StudyDescription": ""}


class Dying:
    """An archive that is killed (kill -9) with the caller at a given moment: before or after an image is stored."""

    def __init__(self, orthanc: OrthancAlone, at_image: int, *, after: bool, kills: bool = True) -> None:
        self._orthanc, self._left, self._after, self._kills = orthanc, at_image, after, kills

    def __getattr__(self, name: str) -> Any:
        return getattr(self._orthanc.archive, name)

    def post_bytes(self, path: str, body: bytes) -> Json:
        """Store, and die before or after."""
        if path != "/instances":
            return self._orthanc.archive.post_bytes(path, body)
        self._left -= 1
        if not self._left and not self._after:
            self._die()
        answer = self._orthanc.archive.post_bytes(path, body)
        if not self._left:
            self._die()
        return answer

    def _die(self) -> None:
        if self._kills:
            self._orthanc.stop(signal.SIGKILL)
        raise ArchiveError("killed")


class Counting:
    """An archive of which is counted how many resources its answers name."""

    def __init__(self, orthanc: OrthancAlone) -> None:
        self._archive, self.named = orthanc.archive, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    def get_json(self, path: str) -> Json:
        """Ask, and count."""
        return self._counted(self._archive.get_json(path))

    def post_json(self, path: str, body: Json) -> Json:
        """Ask, and count."""
        return self._counted(self._archive.post_json(path, body))

    def _counted(self, answer: Json) -> Json:
        self.named += json.dumps(answer).count("-")
        return answer


class Undoing:
    """An archive that does something when the first image is stored."""

    def __init__(self, orthanc: OrthancAlone, happens: Callable[[], object]) -> None:
        self._archive, self._left = orthanc.archive, [happens]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    def post_bytes(self, path: str, body: bytes) -> Json:
        """Store, and have it happen."""
        answer = self._archive.post_bytes(path, body)
        if path == "/instances" and self._left:
            self._left.pop()()
        return answer


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    """Give a database."""
    with Database(f"sqlite:///{tmp_path / 'pacs.db'}") as database:
        database.migrate()
        yield database


def stored(orthanc: OrthancAlone, count: int = IMAGES) -> TaskOrder:
    """Store a study and return what a rule orders of it."""
    study, series = str(generate_uid()), [str(generate_uid()), str(generate_uid())]
    who = {"StudyInstanceUID": study, "PatientID": "P-1", "InstitutionName": "Norte", "StudyDescription": "CT"}
    for number in range(count):
        image = dicom_image(**who, SeriesInstanceUID=series[number % 2], InstanceNumber=number)
        parent = orthanc.archive.post_bytes("/instances", as_file(image))["ParentStudy"]
    return TaskOrder("set", "A rule", parent, study, None, {"changes": CHANGES})


def copies_of(database: Database, archive: Any) -> StudyCopies:
    """Return copies with a queue of their own."""
    copies = StudyCopies(database, archive, Tasks(database, RuleFigures(Metrics("1.2.3"))))
    copies.register()
    return copies


def studies(orthanc: OrthancAlone) -> dict[str, int]:
    """Return how many images each study has."""
    found = {one["ID"]: 0 for one in orthanc.archive.get_json("/studies?expand")}
    return {study: len(orthanc.archive.get_json(f"/studies/{study}/instances")) for study in found}


@pytest.mark.parametrize(("at_image", "after"), [(1, False), (1, True), (4, False), (4, True), (IMAGES, True)])
def test_copy_is_made_once_and_whole_when_the_archive_is_killed_in_the_middle(
    own_orthanc: OrthancAlone, sqlite: Database, at_image: int, *, after: bool
) -> None:
    """By kill -9 before or after any image: the next try goes on where it stood, and one copy has all images."""
    order = stored(own_orthanc)
    dying: Any = Dying(own_orthanc, at_image, after=after)
    with pytest.raises(ArchiveError):
        copies_of(sqlite, dying).make(order)
    own_orthanc.start()
    copies = copies_of(sqlite, own_orthanc.archive)
    assert copies.make(order)["copied"] is True
    assert copies.make(order)["images"] == 0
    found = studies(own_orthanc)
    assert sorted(found.values()) == [IMAGES, IMAGES]
    (record,) = copies.about(order.orthanc_study_id, "")
    assert (record.instances, record.rule, record.made_at is not None) == (IMAGES, "A rule", True)
    (copy,) = found.keys() - {order.orthanc_study_id}
    assert len(own_orthanc.archive.get_json(f"/studies/{copy}/series")) == 2


def test_copy_has_the_new_values_and_the_study_its_own(orthanc: OrthancAlone, sqlite: Database) -> None:
    """Accents arrive; pixels are the same; UIDs are others; the study as it came is untouched."""
    order = stored(orthanc, 1)
    before = orthanc.archive.get_json(f"/studies/{order.orthanc_study_id}/instances")[0]["ID"]
    original = orthanc.archive.get_bytes(f"/instances/{before}/file")
    copies = copies_of(sqlite, orthanc.archive)
    uid = copies.make(order)["study_instance_uid"]
    (copied,) = (one for one in orthanc.archive.get_json("/instances") if one != before)
    copy = dcmread(DicomBytesIO(orthanc.archive.get_bytes(f"/instances/{copied}/file")))
    was = dcmread(DicomBytesIO(original))
    assert (copy.InstitutionName, copy.StudyDescription, copy.StudyInstanceUID) == ("Clínica Ñandutí", "", uid)
    assert copy.PixelData == was.PixelData
    assert not {copy.SOPInstanceUID, copy.SeriesInstanceUID} & {was.SOPInstanceUID, was.SeriesInstanceUID}
    assert orthanc.archive.get_bytes(f"/instances/{before}/file") == original
    assert copies.make(_of_copy(order, uid, copied, orthanc))["reason"] == "it is a copy itself"


def test_late_image_gets_into_the_copy(orthanc: OrthancAlone, sqlite: Database) -> None:
    """When the study is stable once more the copy gets what came since, and nothing twice."""
    order = stored(orthanc, 2)
    copies = copies_of(sqlite, orthanc.archive)
    copies.make(order)
    image = dicom_image(StudyInstanceUID=order.study_instance_uid, PatientID="P-1", SeriesInstanceUID=generate_uid())
    orthanc.archive.post_bytes("/instances", as_file(image))
    assert copies.make(order)["images"] == 1
    assert sorted(studies(orthanc).values()) == [3, 3]


def test_copy_is_removed_and_not_made_again_by_the_rule(orthanc: OrthancAlone, sqlite: Database) -> None:
    """Undone with a name: our images go, others' stay, the study stays; by the rule it stays undone, by hand not."""
    order = stored(orthanc, 3)
    tasks = Tasks(sqlite, RuleFigures(Metrics("1.2.3")))
    copies = StudyCopies(sqlite, orthanc.archive, tasks)
    copies.register()
    uid = copies.make(order)["study_instance_uid"]
    foreign = dicom_image(StudyInstanceUID=uid, PatientID="P-1")
    orthanc.archive.post_bytes("/instances", as_file(foreign))
    (record,) = copies.about(order.orthanc_study_id, "")
    undone = copies.undo(record.id, actor="person:ana")
    assert (undone.undone_by, undone.undone_at is not None) == ("person:ana", True)
    assert copies.make(order)["copied"] is False
    assert [result and result["removed"] for result in worked(tasks)] == [3]
    assert sorted(studies(orthanc).values()) == [1, 3]
    assert copies.make(order)["copied"] is False
    assert copies.make(_by(order, "person:eva"))["images"] == 3
    (again,) = copies.about(order.orthanc_study_id, "")
    assert (again.undone_at, again.actor) == (None, "person:eva")
    with pytest.raises(NotFound):
        copies.undo(99, actor="person:ana")
    copies.undo(record.id, actor="person:ana")
    orthanc.archive.delete(f"/studies/{order.orthanc_study_id}")
    assert [result and result["removed"] for result in worked(tasks)] == [0]
    (left,) = copies.about(order.orthanc_study_id, "")
    assert left.undone_at is None
    with pytest.raises(Conflict, match="all that is left"):
        copies.undo(record.id, actor="person:ana")


def test_copy_that_is_undone_while_it_is_made_is_removed_whole(orthanc: OrthancAlone, sqlite: Database) -> None:
    """The removing waits for the making, of whoever ordered it: nothing stays, and it is undone."""
    order = stored(orthanc, 3)
    tasks = Tasks(sqlite, RuleFigures(Metrics("1.2.3")))
    copies = StudyCopies(sqlite, orthanc.archive, tasks)
    copies.register()
    with sqlite.session(write=True) as session:
        subject = Subject(order.orthanc_study_id, order.study_instance_uid)
        tasks.put(session, subject, "A rule", Task("set", {"changes": CHANGES}), actor="person:eva")
    (making,) = tasks.queue.claim(2)
    copies.make(order)
    copies.undo(1, actor="person:ana")
    assert tasks.queue.claim(2) == []
    tasks.work(making)
    making.complete()
    (record,) = copies.about(order.orthanc_study_id, "")
    assert record.undone_at is None
    assert [result and result["removed"] for result in worked(tasks)] == [3]
    assert sorted(studies(orthanc).values()) == [3]
    (record,) = copies.about(order.orthanc_study_id, "")
    assert (record.undone_by, record.made_at, record.instances) == ("person:ana", None, 0)


def test_copy_of_a_study_that_comes_image_by_image_costs_each_image_the_same(
    orthanc: OrthancAlone, sqlite: Database
) -> None:
    """`on: instance`: after the first, an image is brought into the copy without a look at those that are there."""
    order = stored(orthanc, 2)
    counting: Any = Counting(orthanc)
    copies = copies_of(sqlite, counting)
    images = [one["ID"] for one in orthanc.archive.get_json(f"/studies/{order.orthanc_study_id}/instances")]
    assert copies.make(_of_instance(order, images[0]))["images"] == 2
    assert copies.make(_of_instance(order, images[1]))["images"] == 0
    costs = []
    for number in range(40):
        image = dicom_image(
            StudyInstanceUID=order.study_instance_uid, PatientID="P-1", SeriesInstanceUID="1.2.3", InstanceNumber=number
        )
        instance = orthanc.archive.post_bytes("/instances", as_file(image))["ID"]
        before = counting.named
        assert copies.make(_of_instance(order, instance))["images"] == 1
        costs.append(counting.named - before)
    assert max(costs) <= min(costs)
    (record,) = copies.about(order.orthanc_study_id, "")
    before = counting.named
    (copied,) = orthanc.archive.post_bytes("/tools/lookup", record.copy_study_instance_uid.encode())
    of_copy = {"orthanc_study_id": copied["ID"], "study_instance_uid": record.copy_study_instance_uid}
    assert copies.make(TaskOrder(**(vars_of(order) | of_copy)))["reason"] == "it is a copy itself"
    assert counting.named == before
    assert (record.instances, sorted(studies(orthanc).values())) == (42, [42, 42])
    assert copies.make(order)["images"] == 0


def test_copy_that_stands_gets_what_came_late_whichever_rule_made_it(orthanc: OrthancAlone, sqlite: Database) -> None:
    """Also one that was ordered by hand, when the study is stable once more; one that was undone gets nothing."""
    order = stored(orthanc, 2)
    tasks = Tasks(sqlite, RuleFigures(Metrics("1.2.3")))
    copies = StudyCopies(sqlite, orthanc.archive, tasks)
    copies.register()
    copies.make(_by(order, "person:eva"))
    stable = FeedChange(
        ChangeKind.STABLE_STUDY, ResourceLevel.STUDY, order.orthanc_study_id, at=datetime.now(UTC), sequence=7
    )
    subscribers: list[Any] = []
    copies.follow(cast("ChangeFeed", SimpleNamespace(subscribe=lambda _kinds, one: subscribers.append(one))))
    image = dicom_image(StudyInstanceUID=order.study_instance_uid, PatientID="P-1", SeriesInstanceUID=generate_uid())
    orthanc.archive.post_bytes("/instances", as_file(image))
    with sqlite.session(write=True) as session:
        subscribers[0](session, stable)
    assert [result and result["images"] for result in worked(tasks)] == [1]
    copies.undo(1, actor="person:ana")
    worked(tasks)
    with sqlite.session(write=True) as session:
        subscribers[0](session, stable)
    assert worked(tasks) == []


@pytest.mark.parametrize("actor", ["", "person:eva"])
def test_removal_goes_through_though_the_making_keeps_failing(
    orthanc: OrthancAlone, database: Database, actor: str
) -> None:
    """Neither a making that waits for its next try, nor a dead letter, nor another task of the study holds it up."""
    order = stored(orthanc, 3)
    dying: Any = Dying(orthanc, 2, after=True, kills=False)
    tasks = Tasks(database, RuleFigures(Metrics("1.2.3")))
    copies = StudyCopies(database, dying, tasks)
    copies.register()
    other, given_up = Task("set", {"changes": {"StudyID": "7"}}), Task("set", {"changes": CHANGES})
    subject = Subject(order.orthanc_study_id, order.study_instance_uid)
    with database.session(write=True) as session:
        tasks.put(session, subject, "A rule", given_up, actor="person:eva")
    tasks.queue.claim(1)[0].reject("given up")
    with database.session(write=True) as session:
        tasks.put(session, subject, "Another rule", other)
        tasks.put(session, subject, "A rule", Task("webhook", {"url": "https://away.example"}))
        for _ in range(2):
            tasks.put(session, subject, "A rule", Task("set", {"changes": CHANGES}), actor=actor)
    for claim in tasks.queue.claim(3):
        if claim.item.payload["parameters"] == {"changes": CHANGES}:
            with pytest.raises(ArchiveError):
                tasks.work(claim)
        claim.retry("the archive refuses", after_seconds=600)
    assert sorted(studies(orthanc).values()) == [2, 3]
    copies.undo(1, actor="person:ana")
    assert [result and result["removed"] for result in worked(tasks)] == [2]
    assert sorted(studies(orthanc).values()) == [3]
    (record,) = copies.about(order.orthanc_study_id, "")
    assert (record.undone_by, record.made_at, record.instances) == ("person:ana", None, 0)
    counts = tasks.queue.counts()
    assert (counts[WorkState.CANCELLED], counts[WorkState.SKIPPED], counts[WorkState.WAITING]) == (2, 1, 2)
    copies = StudyCopies(database, orthanc.archive, tasks)
    assert copies.make(_by(order, "person:eva"))["images"] == 3


def test_making_ends_when_it_is_undone_meanwhile(orthanc: OrthancAlone, sqlite: Database) -> None:
    """A making of thousands of images does not go on for nothing; what it stored is removed."""
    order = stored(orthanc, 4)
    tasks = Tasks(sqlite, RuleFigures(Metrics("1.2.3")))
    undoing: Any = Undoing(orthanc, lambda: StudyCopies(sqlite, orthanc.archive, tasks).undo(1, actor="person:ana"))
    copies = StudyCopies(sqlite, undoing, tasks)
    copies.register()
    assert copies.make(order)["copied"] is False
    assert sorted(studies(orthanc).values()) == [1, 4]
    assert [result and result["removed"] for result in worked(tasks)] == [1]
    assert sorted(studies(orthanc).values()) == [4]


def test_order_is_done_in_the_queue_of_either_database(orthanc: OrthancAlone, database: Database) -> None:
    """As the rules put it: by the queue, with who asked for it; a study that is gone is no fault."""
    order = stored(orthanc, 2)
    tasks = Tasks(database, RuleFigures(Metrics("1.2.3")))
    copies = StudyCopies(database, orthanc.archive, tasks)
    copies.register()
    subject = Subject(order.orthanc_study_id, order.study_instance_uid)
    with database.session(write=True) as session:
        tasks.put(session, subject, "A rule", Task("set", {"changes": CHANGES}), actor="person:ana")
        tasks.put(session, Subject("gone", "1.2"), "A rule", Task("set", {"changes": CHANGES}))
    results = [tasks.work(claim) for claim in tasks.queue.claim(2)]
    assert [result and result["copied"] for result in results] == [True, False]
    (record,) = copies.about(order.orthanc_study_id, "")
    assert record.actor == "person:ana"


def worked(tasks: Tasks) -> list[Any]:
    """Do what is in the queue; return the results."""
    results = []
    while claims := tasks.queue.claim(1):
        results.append(tasks.work(claims[0]))
        claims[0].complete()
    return results


def _by(order: TaskOrder, actor: str) -> TaskOrder:
    return TaskOrder(**(vars_of(order) | {"actor": actor}))


def _of_instance(order: TaskOrder, instance: str) -> TaskOrder:
    return TaskOrder(**(vars_of(order) | {"parameters": {"changes": CHANGES, "instance": instance}}))


def _of_copy(order: TaskOrder, uid: str, instance: str, orthanc: OrthancAlone) -> TaskOrder:
    study = orthanc.archive.get_json(f"/instances/{instance}/study")["ID"]
    return TaskOrder(**(vars_of(order) | {"orthanc_study_id": study, "study_instance_uid": uid}))


def vars_of(order: TaskOrder) -> dict[str, Any]:
    """Return the fields of an order."""
    return {name: getattr(order, name) for name in TaskOrder.__dataclass_fields__}
