"""One study is one patient at its target: the project and the values that a delivery began with count to its end."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from pydicom import Dataset, dcmread
from pydicom.filereader import read_dataset
from pydicom.uid import SecondaryCaptureImageStorage
from pynetdicom import evt
from sqlalchemy import update

from fixtures.fictitious_studies import dicom_image
from fixtures.orthanc_alone import OrthancAlone
from fixtures.recipients import Recipient, dicom, recipient
from fixtures.routing_worlds import RoutingWorld, routing_world
from pacs.database import Database
from pacs.routing.delivery import lane
from pacs.routing.delivery.diverting import divert
from pacs.routing.delivery.entry import Entry
from pacs.routing.delivery.forgetting import Forgetting
from pacs.routing.delivery.identities import Identities
from pacs.routing.delivery.ledger import Ledger
from pacs.routing.delivery.models import DeliveredInstance, DeliveryRecord
from pacs.routing.delivery.overview import Overview
from pacs.routing.delivery.queues import Queues
from pacs.routing.delivery.shipping import Means, Shipping
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.orders import DeliveryOrder
from pacs.routing.senders.faults import SendingFault
from pacs.work import GiveBack, WorkState
from pacs.work.queue import utc_now

pytest_plugins = ("fixtures.orthancs", "fixtures.postgresql", "fixtures.databases")

SECRET, OTHER_SECRET = "a secret of thirty-two bytes or more", "another secret of thirty-two bytes"
PROJECTS = (
    "projects:\n  register:\n    secret: ${REGISTER_SECRET}\n    unmasked: declared\n    pseudonym_prefix: ONE-\n"
)
EDITED = PROJECTS.replace("ONE-", "TWO-")
BROKEN = PROJECTS.replace("unmasked", "unmaksed")
UNNAMED = {"BurnedInAnnotation": "NO", "SOPClassUID": SecondaryCaptureImageStorage}


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "_MENDED_LOOK_SECONDS", 0.3)
    monkeypatch.setenv("REGISTER_SECRET", SECRET)


def test_project_edited_between_two_tries_leaves_the_study_one_patient(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A first try ends in the middle, the project is edited, even broken: the rest gets the identity of the first."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        _projects(tmp_path, PROJECTS)
        study, _ = world.study(4, **UNNAMED)
        edits = [BROKEN]

        def mood(_event: evt.Event) -> int | None:
            if len(target.kept) < 2:
                return None
            # Not with each try: the next edit may be there already.
            if edits:
                _projects(tmp_path, edits.pop())
            return 0xA700

        target.mood = mood
        delivery = world.order(study, "t", deidentify="register")
        world.wait_until(delivery, lambda row: "out of resources" in (row.error or ""))
        _projects(tmp_path, EDITED)
        target.mood = lambda _event: None
        world.wait(delivery, DeliveryState.PROVEN)
        assert _patients(target) == {_patients(target).pop()}
        _late(world, study)
        row = world.wait_until(delivery, lambda row: row.state == "proven" and row.confirmed == 5)
        (patient,) = _patients(target)
        assert patient.startswith("ONE-")
        assert len({kept[0] for kept in target.kept.values()}) == 1
        world.routing.ledger.send_again(delivery)
        world.wait_until(delivery, lambda row: row.state == "proven" and row.identity is not None)
        assert row.identity != world.row(delivery).identity
    assert {patient[:4] for patient in _patients(target)} == {"TWO-"}


def test_delivery_waits_when_the_projects_have_a_mistake_and_goes_when_it_is_mended(
    orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """A mistake in deidentify.yaml is told with its line; nothing goes out, and nothing becomes a dead letter."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        _projects(tmp_path, BROKEN)
        study, _ = world.study(2, **UNNAMED)
        delivery = world.order(study, "t", deidentify="register")
        row = world.wait_until(delivery, lambda row: bool(row.error))
        other = world.order(world.study(1)[0], "t")
        world.wait(other, DeliveryState.PROVEN)
        assert row.state == "waiting"
        assert 'line 4: unknown key "unmaksed"; did you mean "unmasked"?' in (row.error or "")
        assert len(target.kept) == 1
        _projects(tmp_path, PROJECTS)
        world.wait(delivery, DeliveryState.PROVEN)


def test_rest_waits_when_the_secret_became_another(
    orthanc: OrthancAlone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another secret the rest would be another patient's: it waits for the former one, and tells so."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        _projects(tmp_path, PROJECTS)
        study, _ = world.study(2, **UNNAMED)
        delivery = world.order(study, "t", deidentify="register")
        world.wait(delivery, DeliveryState.PROVEN)
        monkeypatch.setenv("REGISTER_SECRET", OTHER_SECRET)
        _late(world, study)
        world.wait_until(delivery, lambda row: "is another one than when this delivery began" in (row.error or ""))
        assert len(target.kept) == 2
        monkeypatch.setenv("REGISTER_SECRET", SECRET)
        world.wait_until(delivery, lambda row: row.state == "proven" and row.confirmed == 3)
    assert len(_patients(target)) == 1


def test_proof_of_what_is_sent_needs_no_secret(
    orthanc: OrthancAlone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it was accepted before the secret was changed: it is looked at and proven as ever."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        _projects(tmp_path, PROJECTS)
        delivery = world.order(world.study(2, **UNNAMED)[0], "t", deidentify="register")
        world.wait(delivery, DeliveryState.PROVEN)
        monkeypatch.setenv("REGISTER_SECRET", OTHER_SECRET)
        with world.database.session(write=True) as session:
            session.execute(update(DeliveredInstance).values(state="sent"))
            world.routing.ledger.late(session, world.row(delivery).orthanc_study_id)
        row = world.wait(delivery, DeliveryState.PROVEN)
        assert (row.error, len(target.kept)) == (None, 2)


def test_values_count_anew_where_nothing_was_accepted(database: Database) -> None:
    """A study that was refused whole goes by the rule's new values: the target has nothing of it."""
    ledger = Ledger(database, Queues(database))
    values = {}
    for study, count in (("refused", {"refused": 2}), ("accepted", {"refused": 1, "sent": 1})):
        old = DeliveryOrder(study, "1.2", "t", "rule", changes={"InstitutionName": "Sur"})
        new = DeliveryOrder(study, "1.2", "t", "rule", changes={"InstitutionName": "Este"})
        with database.session(write=True) as session:
            (delivery,) = ledger.order([old], session)
            session.execute(update(DeliveryRecord).where(DeliveryRecord.id == delivery).values(state="failed", **count))
        with database.session(write=True) as session:
            ledger.order([new], session)
        values[study] = Overview(database).get(delivery).changes["InstitutionName"]
    assert values == {"refused": "Este", "accepted": "Sur"}


def test_version_is_forgotten_when_no_delivery_has_it_any_more(database: Database, tmp_path: Path) -> None:
    """Old versions go with the last delivery that began with them; one that is begun with anew is as good as new."""
    file = tmp_path / "deidentify.yaml"
    file.write_text(PROJECTS)
    long_ago, day = utc_now() - timedelta(days=400), timedelta(days=1)
    times = iter((long_ago, long_ago, utc_now()))
    identities = Identities(file, database, lambda: next(times))
    ledger = Ledger(database, Queues(database))
    versions = []
    for text in (PROJECTS, EDITED, PROJECTS + "\n"):
        file.write_text(text)
        versions.append(identities.current("register"))
    with database.session(write=True) as session:
        for version in versions:
            identities.keep(session, version)
        (delivery,) = ledger.order([DeliveryOrder("s1", "1.2", "t", "rule", deidentify="register")], session)
        session.get_one(DeliveryRecord, delivery).identity = versions[1].version
    forgetting = Forgetting(database, 365, utc_now)
    assert forgetting.forget_identities() == 1
    with pytest.raises(SendingFault, match="is gone"):
        identities.kept(versions[0].version)
    assert [identities.kept(one.version) for one in versions[1:]] == versions[1:]
    with database.session(write=True) as session:
        session.get_one(DeliveryRecord, delivery).identity = None
        Identities(file, database, lambda: utc_now() - day).keep(session, versions[1])
    assert forgetting.forget_identities() == 0


def test_broken_projects_never_replace_good_ones(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project as it was stays in force while its file has a mistake; after a start nothing is guessed."""
    file = tmp_path / "deidentify.yaml"
    file.write_text(PROJECTS + "    masks: masks.yaml\n    clean: [pixel data]\n")
    masks = tmp_path / "masks.yaml"
    masks.write_text("a:\n  when: {Rows: 5, Columns: 5}\n  blank: [0 0 1 1]\n")
    identities = Identities(file, database, utc_now)
    good = identities.current("register")
    masks.write_text("a:\n  when: {Rows: 5}\n  blank: [0 0 1 1]\n")
    assert identities.current("register") == good
    with pytest.raises(SendingFault, match="needs Rows and Columns") as raised:
        Identities(file, database, utc_now).current("register")
    assert raised.value.kind == "waits"
    with database.session(write=True) as session:
        identities.keep(session, good)
        identities.keep(session, good)
    masks.unlink()
    assert Identities(file, database, utc_now).kept(good.version) == good
    monkeypatch.setenv("REGISTER_SECRET", OTHER_SECRET)
    with pytest.raises(SendingFault, match="Put the former secret back"):
        identities.kept(good.version)


def test_values_of_the_first_images_count_when_the_rule_is_edited(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """`change:` edited after a part of a study went: the rest gets what the first images got; a new study the new."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(2, InstitutionName="Norte")
        delivery = world.order(study, "t", changes={"InstitutionName": "Sur"})
        world.wait(delivery, DeliveryState.PROVEN)
        _late(world, study, images[0])
        world.order(study, "t", changes={"InstitutionName": "Este"})
        world.wait_until(delivery, lambda row: row.state == "proven" and row.confirmed == 3)
        assert {str(one.InstitutionName) for one in _received(target)} == {"Sur"}
        world.order(study, "t", changes={"InstitutionName": "Este"}, again=True)
        world.wait_until(delivery, lambda _row: {str(one.InstitutionName) for one in _received(target)} == {"Este"})


class TestSuperseded:
    """Pieces of work that a newer one took the place of."""

    def test_nothing_is_sent_of_what_an_alternative_took_over_at_this_moment(
        self, database: Database, tmp_path: Path
    ) -> None:
        """A try that was waiting for its target when the study was handed over ends: one of the two gets it."""
        ledger, nothing = Ledger(database, Queues(database)), cast("Any", None)
        with database.session(write=True) as session:
            ordered = DeliveryOrder("s1", "1.2", "t", "rule", alternatives=("other",))
            (delivery,) = ledger.order([ordered], session)
        (claim,) = ledger.queues.of("t").claim(1)
        row = Overview(database).get(delivery)
        means = Means(nothing, ledger, nothing, nothing, tmp_path, nothing)
        with database.session(write=True) as session:
            assert divert(ledger, delivery, session) is not None
        with pytest.raises(GiveBack):
            Shipping(means, nothing, Entry(ledger, claim, row), nothing, nothing).send([])
        assert Overview(database).get(delivery).state == "diverted"

    def test_failure_of_an_older_try_is_no_dead_letter_when_it_was_ordered_anew(
        self, orthanc: OrthancAlone, tmp_path: Path
    ) -> None:
        """What is ordered while a try is under way gets its own try, though the older one ends in a refusal."""
        with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
            study, _ = world.study(2)
            left = [0xA900, 0xA900]

            def mood(_event: evt.Event) -> int | None:
                if len(left) == 2:
                    world.order(study, "t", rule="newer", urgency=20)
                return left.pop() if left else None

            target.mood = mood
            row = world.wait(world.order(study, "t"), DeliveryState.PROVEN, DeliveryState.FAILED)
            assert (row.state, row.confirmed, row.rule) == ("proven", 2, "newer")
            assert world.routing.ledger.queues.of("t").counts()[WorkState.FAILED] == 0

    def test_replayed_piece_of_work_of_before_does_nothing(self, database: Database) -> None:
        """A dead letter of the queue that is played again after its delivery was ordered anew sends nothing."""
        ledger = Ledger(database, Queues(database))
        with database.session(write=True) as session:
            (delivery,) = ledger.order([DeliveryOrder("s1", "1.2", "t", "rule")], session)
        queue = ledger.queues.of("t")
        (claim,) = queue.claim(1)
        with database.session(write=True) as session:
            ledger.order([DeliveryOrder("s1", "1.2", "t", "rule", urgency=20)], session)
        claim.reject("refused")
        queue.replay(claim.item.id)
        means: Any = type("Means", (), {"ledger": ledger})()
        nothing: Any = None
        working = lane.Lane(
            "t",
            nothing,
            means,
            stations=nothing,
            children=nothing,
            presence=nothing,
            figures=nothing,
            zone=nothing,
        )
        states = {}
        while claims := queue.claim(1):
            if claims[0].item.id != claim.item.id:
                states["newer"] = claims[0].item.id
                claims[0].complete()
                continue
            assert working.work(claims[0]) is None
            states["older"] = claims[0].item.id
            claims[0].complete()
        assert states.keys() == {"older", "newer"}
        assert Overview(database).get(delivery).work_item_id == states["newer"]


def _projects(folder: Path, text: str) -> None:
    (folder / "routing" / "deidentify.yaml").write_text(text)


def _received(target: Recipient) -> list[Dataset]:
    return [_read(*kept[3:]) for kept in list(target.kept.values())]


def _read(syntax: str, data_set: bytes) -> Dataset:
    is_implicit = syntax == "1.2.840.10008.1.2"
    return read_dataset(io.BytesIO(data_set), is_implicit, is_little_endian=True)


def _patients(target: Recipient) -> set[str]:
    return {str(one.PatientID) for one in _received(target)}


def _late(world: RoutingWorld, study: str, like: Dataset | None = None) -> None:
    """Store one image more of a study, and have it noticed."""
    if like is None:
        first = world.orthanc.archive.get_json(f"/studies/{study}/instances")[0]["ID"]
        like = dcmread(io.BytesIO(world.orthanc.archive.get_bytes(f"/instances/{first}/file")))
    world.store(
        dicom_image(
            StudyInstanceUID=like.StudyInstanceUID,
            SeriesInstanceUID=like.SeriesInstanceUID,
            PatientID=like.PatientID,
            InstanceNumber=99,
            InstitutionName="Norte",
            **UNNAMED,
        )
    )
    with world.database.session(write=True) as session:
        world.routing.ledger.late(session, study)
