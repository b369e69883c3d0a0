"""Deliveries: sent by each way, proven by the target's own word, and seen in the ledger whatever goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom import Dataset, dcmread
from pydicom.uid import MRImageStorage
from pynetdicom import build_context, evt

from fixtures import dcmtk
from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.orthanc_alone import OrthancAlone, orthanc_alone
from fixtures.ports import free_port
from fixtures.recipients import Recipient, dicom, recipient
from fixtures.routing_worlds import routing_world
from fixtures.stations import data_set_of
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.orders import STAT

pytest_plugins = ("fixtures.orthancs",)
ENDS = (DeliveryState.PROVEN, DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.CUT)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OrthancAlone, int]]:
    """Run a second archive, with DICOM, DICOMweb and its REST API; give it with its DICOM port."""
    port = free_port()
    settings = {
        "DicomServerEnabled": True,
        "DicomPort": port,
        "DicomAet": "OTHER",
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowStore": True,
    }
    with orthanc_alone(tmp_path_factory.mktemp("other"), settings) as started:
        yield started, port


def test_study_is_proven_at_a_dicom_target_when_its_search_finds_each_instance(
    orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """A study sent by C-STORE is called proven once the target's C-FIND names every instance; bytes are as stored."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(5)
        row = world.wait(world.order(study, "t"), *ENDS)
    assert (row.state, row.instances, row.sent, row.confirmed, row.refused) == ("proven", 5, 5, 5, 0), row.error
    assert set(target.kept) == {image.SOPInstanceUID for image in images}
    stored = orthanc.archive.get_bytes(f"/instances/{orthanc.archive.get_json('/instances')[0]}/file")
    assert data_set_of(stored) in {kept[4] for kept in target.kept.values()}


def test_study_is_proven_by_storage_commitment_when_the_target_has_it(tmp_path: Path) -> None:
    """The target's N-EVENT-REPORT, which comes to Orthanc's port on an association of its own, is the proof."""
    port = free_port()
    with (
        orthanc_alone(_folder(tmp_path, "a"), {"DicomServerEnabled": True, "DicomPort": port}) as own,
        recipient(reports_to=("127.0.0.1", port), searches=False) as target,
        routing_world(tmp_path, own, {"t": dicom(target, proof="commitment")}) as world,
    ):
        study, _ = world.study(4)
        row = world.wait(world.order(study, "t"), *ENDS)
    assert (row.state, row.confirmed) == ("proven", 4), row.error


def test_commitment_of_half_the_instances_proves_no_study_when_the_rest_is_missing(tmp_path: Path) -> None:
    """What the report calls failed is sent again, and the study is not proven before all of it is committed."""
    port = free_port()
    with (
        orthanc_alone(_folder(tmp_path, "a"), {"DicomServerEnabled": True, "DicomPort": port}) as own,
        recipient(reports_to=("127.0.0.1", port), searches=False) as target,
        routing_world(tmp_path, own, {"t": dicom(target, proof="commitment")}) as world,
    ):
        study, images = world.study(4)
        target.forgets = lambda uid: uid == images[0].SOPInstanceUID and target.arrivals[uid] < 2
        row = world.wait(world.order(study, "t"), *ENDS)
    assert (row.state, row.confirmed, len(target.kept)) == ("proven", 4, 4), row.error
    assert target.arrivals == {image.SOPInstanceUID: 2 if image is images[0] else 1 for image in images}


@pytest.mark.parametrize("way", ["dicom", "stow", "peer"])
def test_second_orthanc_proves_a_study_when_it_comes_by(
    way: str, orthanc: OrthancAlone, other: tuple[OrthancAlone, int], tmp_path: Path
) -> None:
    """Another Orthanc gets a study by DICOM, by STOW-RS and as a peer, and proves it by C-FIND, QIDO-RS and REST."""
    second, port = other
    target = {
        "dicom": {"kind": "dicom", "aet": "OTHER", "host": "127.0.0.1", "port": port},
        "stow": {"kind": "stow", "url": f"{second.url}/dicom-web"},
        "peer": {"kind": "peer", "url": second.url},
    }[way]
    with routing_world(tmp_path, orthanc, {"t": target}) as world:
        study, images = world.study(3)
        row = world.wait(world.order(study, "t"), *ENDS)
        world.routing.test("t")
    assert (row.state, row.confirmed) == ("proven", 3), row.error
    found = second.archive.get_json(f"/studies/{study}/instances?expand")
    assert {one["MainDicomTags"]["SOPInstanceUID"] for one in found} == {image.SOPInstanceUID for image in images}


def test_study_is_proven_at_dcmtk_dcmqrscp(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """Dcmtk's archive gets a study and proves it by C-FIND."""
    with dcmtk.dcmqrscp(tmp_path / "qr", "QR") as port:
        target = {"kind": "dicom", "aet": "QR", "host": "127.0.0.1", "port": port}
        with routing_world(tmp_path, orthanc, {"t": target}) as world:
            study, _ = world.study(3)
            row = world.wait(world.order(study, "t"), *ENDS)
    assert (row.state, row.confirmed) == ("proven", 3), row.error


def test_study_is_only_sent_when_the_target_is_dcmtk_storescp_which_proves_nothing(
    orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """A receiver that can't be asked gets the study, and the ledger says sent, never proven."""
    with dcmtk.storescp(tmp_path / "received", "STORESCP") as port:
        target = {"kind": "dicom", "aet": "STORESCP", "host": "127.0.0.1", "port": port, "proof": "none"}
        with routing_world(tmp_path, orthanc, {"t": target}) as world:
            study, images = world.study(3)
            row = world.wait(world.order(study, "t"), *ENDS)
    assert (row.state, row.sent, row.confirmed) == ("sent", 3, 0), row.error
    received = {one.SOPInstanceUID for one in dcmtk.read_folder(tmp_path / "received")}
    assert received == {image.SOPInstanceUID for image in images}


def test_study_is_written_whole_when_the_target_is_a_folder(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A folder gets STUDY/SERIES/INSTANCE.dcm, readable files and nothing half."""
    (tmp_path / "out").mkdir()
    with routing_world(tmp_path, orthanc, {"t": {"kind": "folder", "path": str(tmp_path / "out")}}) as world:
        study, images = world.study(3)
        row = world.wait(world.order(study, "t"), *ENDS)
    assert (row.state, row.confirmed) == ("proven", 3), row.error
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {dcmread(path).SOPInstanceUID for path in files} == {image.SOPInstanceUID for image in images}


# -- once, and what comes late -------------------------------------------------------------------------------------


def test_nothing_is_sent_twice_when_a_proven_study_is_ordered_again(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A second order for a study that is proven sends nothing; one that says `again` sends all of it."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(3)
        first = world.order(study, "t")
        world.wait(first, DeliveryState.PROVEN)
        assert world.order(study, "t") == first
        world.wait(first, DeliveryState.PROVEN)
        assert set(target.arrivals.values()) == {1}
        world.order(study, "t", again=True)
        world.wait_until(first, lambda _row: set(target.arrivals.values()) == {2})
        world.wait(first, DeliveryState.PROVEN)
    assert set(target.kept) == {image.SOPInstanceUID for image in images}


def test_late_instances_alone_are_sent_when_a_study_grows_after_its_proof(
    orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """An image that comes after the proof is sent by itself, and the study is proven anew with it."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(2)
        delivery = world.order(study, "t")
        world.wait(delivery, DeliveryState.PROVEN)
        late = late_image(images[0])
        world.store(late)
        with world.database.session(write=True) as session:
            world.routing.ledger.late(session, study)
        row = world.wait_until(delivery, lambda row: row.state == "proven" and row.instances == 3)
    assert row.confirmed == 3
    assert target.arrivals == {image.SOPInstanceUID: 1 for image in (*images, late)}


def test_study_is_not_sent_back_when_it_came_from_the_target(tmp_path: Path) -> None:
    """What a target sent us never returns to it; what others added to the study goes."""
    port = free_port()
    settings = {"DicomServerEnabled": True, "DicomPort": port, "DicomAlwaysAllowStore": True, "DicomAet": "OWN"}
    with (
        orthanc_alone(_folder(tmp_path, "a"), settings) as own,
        recipient("LOOPY") as target,
        routing_world(tmp_path, own, {"t": dicom(target)}) as world,
    ):
        image = _sent_by("LOOPY", port, tmp_path)
        study = str(own.archive.get_json("/studies")[0])
        delivery = world.order(study, "t")
        row = world.wait(delivery, *ENDS)
        assert (row.state, row.instances) == ("cut", 0)
        late = late_image(image)
        world.store(late)
        world.order(study, "t")
        row = world.wait(delivery, DeliveryState.PROVEN)
    assert list(target.arrivals) == [late.SOPInstanceUID]


# -- targets that behave badly -------------------------------------------------------------------------------------


def test_refusal_stands_in_the_ledger_with_the_peers_own_words_when_a_target_refuses(
    orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """A refused study is a dead letter with status, comment and cure; replayed it goes on with what is missing."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(3)
        refused = images[1].SOPInstanceUID
        target.mood = lambda event: _status(0xC123, "no such patient") if _uid(event) == refused else None
        delivery = world.order(study, "t")
        row = world.wait(delivery, *ENDS)
        assert (row.state, row.sent, row.confirmed, row.refused) == ("failed", 2, 2, 1)
        assert "C123 no such patient" in str(row.error)
        assert row.remedy
        assert [one.words for one in world.routing.overview.refusals(delivery)] == ["status C123 no such patient"]
        target.mood = lambda _event: None
        world.routing.ledger.replay(delivery)
        world.wait(delivery, DeliveryState.PROVEN)
    assert target.arrivals == {image.SOPInstanceUID: 1 for image in images}


def test_study_is_tried_again_when_the_target_is_out_of_resources(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A700 is no refusal: the ledger says why it waits, and it goes once there is room."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, _ = world.study(3)
        target.mood = lambda _event: 0xA700
        delivery = world.order(study, "t")
        row = world.wait_until(delivery, lambda row: row.error is not None)
        assert "out of resources" in str(row.error)
        target.mood = lambda _event: None
        row = world.wait(delivery, DeliveryState.PROVEN)
    assert row.error is None


def test_wrong_sop_class_is_told_when_the_target_does_not_take_it(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A target that takes MR alone gets no secondary capture, and the ledger names the class."""
    with (
        recipient(classes=[build_context(MRImageStorage)]) as target,
        routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world,
    ):
        study, _ = world.study(1)
        row = world.wait(world.order(study, "t"), *ENDS)
    assert (row.state, row.refused) == ("failed", 1)
    assert "1.2.840.10008.5.1.4.1.1.7" in str(row.error)


def test_half_a_study_is_not_proven_when_the_target_drops_instances(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """Accepted is not kept: what is not found is sent again, in the end it is a dead letter with numbers."""
    target_settings = {"proof_within_seconds": 0}
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target, **target_settings)}) as world:
        study, images = world.study(4)
        dropped = {image.SOPInstanceUID for image in images[:2]}
        target.forgets = dropped.__contains__
        delivery = world.order(study, "t")
        row = world.wait(delivery, *ENDS)
        assert (row.state, row.confirmed) == ("failed", 2)
        assert "2 of 4" in str(row.error)
        assert {target.arrivals[uid] for uid in dropped} == {3}
        target.forgets = lambda _uid: False
        world.routing.ledger.replay(delivery)
        world.wait(delivery, DeliveryState.PROVEN)


def test_nobody_there_is_told_with_a_cure_when_a_target_does_not_answer(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """Nothing listens: the delivery waits, the ledger says so, and it goes when the target is back."""
    port = free_port()
    target = Recipient("TARGET", port)
    with routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, _ = world.study(2)
        delivery = world.order(study, "t")
        row = world.wait_until(delivery, lambda row: row.error is not None)
        assert row.state == "waiting"
        assert "refused" in str(row.error)
        assert row.remedy
        assert world.routing.overview.targets()[0].away_seconds > 0
        target.start()
        world.wait(delivery, DeliveryState.PROVEN)
        _until(lambda: world.routing.overview.targets()[0].away_seconds == 0)
    target.stop()


def test_rejected_association_is_told_in_the_peers_words(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A target that knows another AE title says so, and the ledger repeats it."""
    with dcmtk.dcmqrscp(tmp_path / "qr", "QR") as port:
        target = {"kind": "dicom", "aet": "WRONG", "host": "127.0.0.1", "port": port}
        with routing_world(tmp_path, orthanc, {"t": target}) as world:
            study, _ = world.study(1)
            delivery = world.order(study, "t")
            row = world.wait_until(delivery, lambda row: row.error is not None)
    assert "Called AE title not recognised" in str(row.error)


# -- order, windows, failover --------------------------------------------------------------------------------------


def test_urgent_study_goes_first_when_a_target_comes_back(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """What was ordered last but is STAT arrives before all that waited."""
    target = Recipient("TARGET", free_port())
    with routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        routine = [world.study(1)[0] for _ in range(4)]
        deliveries = [world.order(study, "t") for study in routine]
        world.wait_until(deliveries[0], lambda row: row.error is not None)
        urgent, images = world.study(1)
        deliveries.append(world.order(urgent, "t", urgency=STAT))
        # What is just being tried was taken in hand before.
        presence = world.routing.lane("t").presence
        failed_at = presence.failed_at
        _until(lambda: presence.failed_at != failed_at)
        target.start()
        for delivery in deliveries:
            world.wait(delivery, DeliveryState.PROVEN)
    target.stop()
    assert target.order[0] == images[0].StudyInstanceUID
    assert set(target.arrivals.values()) == {1}


def test_more_studies_go_at_once_when_a_target_is_given_more(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """`parallel` counts from the moment that it is in the file, without a restart: up, and down again."""
    at_once, most = 0, 0
    lock = threading.Lock()
    gate = threading.Event()

    def mood(_event: evt.Event) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        gate.wait(50)
        with lock:
            at_once -= 1

    with recipient(mood=mood) as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        orders = [world.order(world.study(1)[0], "t") for _ in range(3)]
        _until(lambda: most == 1)
        _write_targets(tmp_path, {"t": dicom(target, parallel=3)})
        world.routing.targets.reload()
        _until(lambda: most == 3)
        _write_targets(tmp_path, {"t": dicom(target, parallel=1)})
        world.routing.targets.reload()
        gate.set()
        for order in orders:
            world.wait(order, DeliveryState.PROVEN)
        gate.clear()
        most = 0
        orders = [world.order(world.study(1)[0], "t") for _ in range(3)]
        _until(lambda: most == 1)
        # A second one would begin at once.
        time.sleep(0.5)
        assert most == 1
        gate.set()
        for order in orders:
            world.wait(order, DeliveryState.PROVEN)


def test_alternative_takes_over_when_a_target_is_away_for_too_long(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """B gets the study once A has been away for its time; A's row says where it went."""
    away = {"kind": "dicom", "aet": "AWAY", "host": "127.0.0.1", "port": free_port(), "failover_after_seconds": 1}
    with recipient() as target, routing_world(tmp_path, orthanc, {"a": away, "b": dicom(target)}) as world:
        study, images = world.study(2)
        delivery = world.order(study, "a", alternatives=("b",))
        row = world.wait(delivery, DeliveryState.DIVERTED)
        assert row.diverted_to == "b"
        others = [one for one in world.routing.overview.of_study(study) if one.target == "b"]
        world.wait(others[0].id, DeliveryState.PROVEN)
    assert set(target.kept) == {image.SOPInstanceUID for image in images}


# -- helpers -------------------------------------------------------------------------------------------------------


def late_image(first: Dataset) -> Dataset:
    """Return another image of the same series."""
    kept = ("StudyInstanceUID", "SeriesInstanceUID", "PatientID")
    return dicom_image(**{name: first.get(name) for name in kept}, InstanceNumber=99)


def _sent_by(aet: str, port: int, folder: Path) -> Dataset:
    """Send an image to the archive at `port` as the station `aet` would; return it."""
    image = dicom_image()
    path = folder / "sent.dcm"
    path.write_bytes(as_file(image))
    done = dcmtk.run("storescu", "-aet", aet, "-aec", "OWN", "127.0.0.1", str(port), path)
    assert done.returncode == 0, done.stdout
    return image


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


def _uid(event: Any) -> str:
    return str(event.request.AffectedSOPInstanceUID)


def _status(code: int, words: str) -> Dataset:
    status = Dataset()
    status.Status, status.ErrorComment = code, words
    return status


def _write_targets(folder: Path, targets: dict[str, Any]) -> None:
    (folder / "routing" / "targets.yaml").write_text(yaml.safe_dump({"targets": targets}))


def _until(holds: Callable[[], bool], *, seconds: float = 45) -> None:
    give_up_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
