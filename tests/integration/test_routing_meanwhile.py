"""What is ordered, or comes, while a delivery is in work: nothing of it is lost, and nothing is proven that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import evt

from fixtures.fictitious_studies import dicom_image
from fixtures.orthanc_alone import OrthancAlone
from fixtures.recipients import dicom, recipient
from fixtures.routing_worlds import routing_world
from fixtures.study_rows import store_rows, study_row
from pacs.database import Database
from pacs.routing.actions.orders import TaskOrder
from pacs.routing.delivery.ledger import Ledger
from pacs.routing.delivery.overview import Overview
from pacs.routing.delivery.queues import Queues
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.orders import DeliveryOrder
from pacs.routing.prefetch.service import Prefetch
from pacs.work import Reject

pytest_plugins = ("fixtures.orthancs", "fixtures.postgresql", "fixtures.databases", "fixtures.register_project")


def test_image_that_comes_while_its_study_is_sent_is_sent_too(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A sending that looked before the image came does not end the delivery: the image follows, once."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(3)
        late = dicom_image(
            StudyInstanceUID=images[0].StudyInstanceUID,
            SeriesInstanceUID=images[0].SeriesInstanceUID,
            PatientID=images[0].PatientID,
            InstanceNumber=99,
        )

        def come() -> None:
            world.store(late)
            with world.database.session(write=True) as session:
                world.routing.ledger.late(session, study)

        target.mood = once(come)
        row = world.wait_until(world.order(study, "t"), lambda row: row.state == "proven")
    assert (row.instances, row.confirmed) == (4, 4)
    assert target.arrivals == {image.SOPInstanceUID: 1 for image in (*images, late)}


def test_images_go_again_without_the_name_when_that_is_ordered_while_they_are_sent(
    orthanc: OrthancAlone, tmp_path: Path, project: str
) -> None:
    """What left with the name before the order proves nothing of the copies without it."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(3, BurnedInAnnotation="NO", SOPClassUID=SecondaryCaptureImageStorage)
        target.mood = once(lambda: world.order(study, "t", deidentify=project))
        row = world.wait_until(world.order(study, "t"), lambda row: row.state == "proven")
    originals = {image.SOPInstanceUID for image in images}
    assert (row.deidentify, row.confirmed) == (project, 3)
    assert len(set(target.kept) - originals) == 3


def test_all_is_sent_again_when_that_is_ordered_while_it_is_sent(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A delivery whose instances are to go once more is not proven before they did."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(3)
        target.mood = once(lambda: world.order(study, "t", again=True))
        row = world.wait_until(world.order(study, "t"), lambda row: row.state == "proven")
    assert (row.confirmed, set(target.kept)) == (3, {image.SOPInstanceUID for image in images})


def test_other_studies_go_on_when_a_target_ends_the_connection_at_one(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A study that its target can't bear is tried again and again, and holds up no other one."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        bad, images = world.study(1)
        good, _ = world.study(1)

        def mood(event: evt.Event) -> None:
            if event.request.AffectedSOPInstanceUID == images[0].SOPInstanceUID:
                event.assoc.abort()

        target.mood = mood
        first = world.order(bad, "t", urgency=20)
        world.wait(world.order(good, "t"), DeliveryState.PROVEN)
        assert world.row(first).state in {"waiting", "sending"}
        target.mood = lambda _event: None
        world.wait(first, DeliveryState.PROVEN)


def test_priors_leave_without_the_name_when_the_study_does(database: Database) -> None:
    """Priors that a rule sends after a study go as the study went: nobody puts name and pseudonym together by them."""
    patient = {"PatientID": "P-77", "PatientBirthDate": "19700101"}
    study = study_row(**patient, StudyDate="20260310")
    prior = study_row(**patient, StudyDate="20250310")
    store_rows(database, study, prior)
    ledger = Ledger(database, Queues(database))
    with database.session(write=True) as session:
        order = DeliveryOrder(study["orthanc_study_id"], study["study_instance_uid"], "t", "r", deidentify="register")
        ledger.order([order], session)
    nowhere: Any = None
    prefetch = Prefetch(database, nowhere, ledger, nowhere)
    wish = {"to": "t"}
    assert prefetch(TaskOrder("prefetch", "r", study["orthanc_study_id"], "", None, wish))["ordered"] == 1
    (delivery,) = Overview(database).of_study(prior["orthanc_study_id"])
    assert delivery.deidentify == "register"


def test_priors_that_can_never_be_brought_are_a_dead_letter_at_once(database: Database) -> None:
    """Without a patient ID, or from what became a folder since the rule was checked: told, and not tried for days."""
    patient = {"PatientID": "P-78", "PatientBirthDate": "19700101"}
    study, nobodys = study_row(**patient), study_row(PatientID="")
    store_rows(database, study, nobodys)
    folder: Any = SimpleNamespace(argument=lambda: {"kind": "folder", "path": "/mnt/research"})
    nowhere: Any = None
    prefetch = Prefetch(database, nowhere, Ledger(database, Queues(database)), lambda _name: folder)
    for row, words in ((study, "kind folder"), (nobodys, "no patient ID")):
        with pytest.raises(Reject, match=words):
            prefetch(TaskOrder("prefetch", "r", row["orthanc_study_id"], "", None, {"from": "research"}))


def once(happens: Callable[[], object]) -> Callable[[evt.Event], None]:
    """Return a mood in which something happens when the first image comes."""
    left = [happens]

    def mood(_event: evt.Event) -> None:
        if left:
            left.pop()()

    return mood
