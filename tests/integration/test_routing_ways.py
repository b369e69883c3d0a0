"""What happens on the way: identity taken out, pixels compressed, SFTP, priors of another archive."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, SecondaryCaptureImageStorage

from fixtures.orthanc_alone import OrthancAlone, orthanc_alone
from fixtures.ports import free_port
from fixtures.recipients import dicom, recipient
from fixtures.routing_worlds import RoutingWorld, routing_world
from fixtures.worklist_entries import enter, entry
from pacs.routing.actions.orders import TaskOrder
from pacs.routing.delivery.states import DeliveryState
from pacs.routing.orders import Transfer
from pacs.studies import StudyIndex
from pacs.work import Retry

pytest_plugins = ("fixtures.orthancs", "fixtures.register_project")
ENDS = (DeliveryState.PROVEN, DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.CUT)


def test_pixels_travel_compressed_and_are_the_same_when_they_arrive(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A target gets JPEG 2000 lossless, with the UIDs of the original, and proves it."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(3)
        row = world.wait(world.order(study, "t", transfer=Transfer(str(JPEG2000Lossless))), *ENDS)
    assert (row.state, row.confirmed) == ("proven", 3), row.error
    assert {kept[3] for kept in target.kept.values()} == {JPEG2000Lossless}
    assert set(target.kept) == {image.SOPInstanceUID for image in images}


def test_nothing_of_the_patient_leaves_when_a_project_takes_the_identity_out(
    orthanc: OrthancAlone, tmp_path: Path, project: str
) -> None:
    """Names and UIDs at the target are others, the proof is by those, and the ledger tells what was changed."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, images = world.study(
            2, PatientName="GEHEIM^Frau", BurnedInAnnotation="NO", SOPClassUID=SecondaryCaptureImageStorage
        )
        row = world.wait(world.order(study, "t", deidentify=project), *ENDS)
        if row.state == "failed":
            pytest.fail(str(row.error) + " / " + str([one.words for one in world.routing.overview.refusals(row.id)]))
    assert (row.state, row.confirmed) == ("proven", 2)
    assert row.report["instances"] == 2
    assert row.report["changes"]
    for uid, kept in target.kept.items():
        assert uid not in {image.SOPInstanceUID for image in images}
        assert b"GEHEIM" not in kept[4]
        assert str(images[0].StudyInstanceUID).encode() not in kept[4]


def test_nothing_is_sent_when_the_secret_of_a_project_is_missing(
    orthanc: OrthancAlone, tmp_path: Path, project_without_secret: str
) -> None:
    """Without its secret a project can't work: the delivery waits and says so, and not one instance went out."""
    with recipient() as target, routing_world(tmp_path, orthanc, {"t": dicom(target)}) as world:
        study, _ = world.study(1)
        delivery = world.order(study, "t", deidentify=project_without_secret)
        row = world.wait_until(delivery, lambda row: bool(row.error))
    assert row.state == "waiting"
    assert "REGISTER_SECRET" in str(row.error)
    assert not target.arrivals


def test_files_arrive_by_sftp_and_an_impostor_gets_none(orthanc: OrthancAlone, tmp_path: Path) -> None:
    """A study is written by SFTP and found there; a server with another key is sent nothing."""
    key, other = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    (tmp_path / "in").mkdir()
    with sftp_server(tmp_path / "in", key) as port:
        target = {"kind": "sftp", "host": "127.0.0.1", "port": port, "user": "pacs", "password": "x", "path": "."}
        entries = {"t": target | _key(key), "impostor": target | _key(other)}
        with routing_world(tmp_path, orthanc, entries) as world:
            study, images = world.study(2)
            row = world.wait(world.order(study, "t"), *ENDS)
            assert (row.state, row.confirmed) == ("proven", 2), row.error
            refused = world.wait_until(world.order(study, "impostor"), lambda row: row.error is not None)
    assert "key" in str(refused.error).lower()
    files = [path for path in (tmp_path / "in").rglob("*") if path.is_file()]
    assert {dcmread(path).SOPInstanceUID for path in files} == {image.SOPInstanceUID for image in images}


@contextmanager
def two_archives(folder: Path, targets: dict[str, Any]) -> Iterator[tuple[RoutingWorld, OrthancAlone]]:
    """Run routing on an archive that has another one as its target `other`; yield both."""
    own_port, other_port = free_port(), free_port()
    server = {"DicomServerEnabled": True, "DicomAlwaysAllowStore": True}
    own_settings = server | {"DicomPort": own_port, "DicomAet": "OWN"}
    other_settings = server | {
        "DicomPort": other_port,
        "DicomAet": "OTHER",
        "DicomModalities": {"own": {"AET": "OWN", "Host": "127.0.0.1", "Port": own_port}},
    }
    for name in ("a", "b"):
        (folder / name).mkdir()
    other = {"kind": "dicom", "aet": "OTHER", "host": "127.0.0.1", "port": other_port}
    with (
        orthanc_alone(folder / "a", own_settings) as own,
        orthanc_alone(folder / "b", other_settings) as second,
        routing_world(folder, own, {"other": other, **targets}) as world,
    ):
        yield world, second


PATIENT = {"PatientID": "P-77", "PatientBirthDate": "19700101"}


def test_priors_of_another_archive_are_fetched_and_sent_on(tmp_path: Path) -> None:
    """Studies of the same patient, by number and birth date, come from the other archive and go to the target."""
    with recipient() as target, two_archives(tmp_path, {"t": dicom(target)}) as (world, second):
        own = world.orthanc
        study, _ = world.study(1, **PATIENT, StudyDate="20260310")
        world.orthanc = second
        prior, images = world.study(1, **PATIENT, StudyDate="20250310")
        world.study(1, PatientID="P-77", PatientBirthDate="19990101", StudyDate="20250310")
        world.orthanc = own
        index = StudyIndex(world.database, own.archive)
        index.reconcile(threading.Event())
        order = TaskOrder("prefetch", "rule", study, "", None, {"from": "other", "to": "t", "modalities": ["CT"]})
        # What was brought goes on once it is known here: the task is tried again until then.
        with pytest.raises(Retry, match="1 priors"):
            world.routing.prefetch(order)
        assert sorted(own.archive.get_json("/studies")) == sorted([study, prior])
        index.reconcile(threading.Event())
        assert world.routing.prefetch(order) == {"retrieved": 0, "ordered": 1}
        (delivery,) = world.routing.overview.of_study(prior)
        world.wait(delivery.id, DeliveryState.PROVEN)
    assert set(target.kept) == {images[0].SOPInstanceUID}


def test_priors_are_here_before_the_patient_comes(tmp_path: Path) -> None:
    """An appointment alone, without a study, brings the patient's priors, and those of nobody with the same number."""
    with two_archives(tmp_path, {}) as (world, second):
        own, world.orthanc = world.orthanc, second
        prior, _ = world.study(1, **PATIENT, StudyDate="20250310")
        world.study(1, PatientID="P-77", PatientBirthDate="19990101", StudyDate="20250310")
        world.study(1, **PATIENT, StudyDate="20240310", Modality="US")
        world.orthanc = own
        enter(world.database, entry(**PATIENT, ScheduledProcedureStepStartDate="20260310"))
        order = TaskOrder("prefetch", "rule", "step 1", "", None, {"from": "other", "modalities": ["CT"], "step": 1})
        assert world.routing.prefetch(order) == {"retrieved": 1, "ordered": 0}
        assert own.archive.get_json("/studies") == [prior]
        assert world.routing.prefetch(order) == {"retrieved": 0, "ordered": 0}


def _key(key: paramiko.PKey) -> dict[str, str]:
    return {"host_key": f"{key.get_name()} {key.get_base64()}"}


class _Files(paramiko.SFTPServerInterface):
    """A folder by SFTP."""

    root: Path

    def _path(self, path: str) -> Path:
        return self.root / self.canonicalize(path).lstrip("/")

    def list_folder(self, path: str) -> Any:
        if not self._path(path).is_dir():
            return paramiko.SFTP_NO_SUCH_FILE
        entries = []
        for one in self._path(path).iterdir():
            entry = paramiko.SFTPAttributes.from_stat(one.stat())
            entry.filename = one.name
            entries.append(entry)
        return entries

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(self._path(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:  # noqa: ARG002
        handle = paramiko.SFTPHandle(flags)
        handle.writefile = self._path(path).open("wb")  # type: ignore[attr-defined]
        return handle

    def mkdir(self, path: str, attr: Any) -> int:  # noqa: ARG002
        try:
            self._path(path).mkdir()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return paramiko.SFTP_OK

    def posix_rename(self, oldpath: str, newpath: str) -> int:
        self._path(oldpath).replace(self._path(newpath))
        return paramiko.SFTP_OK


class _Door(paramiko.ServerInterface):
    def check_auth_password(self, username: str, password: str) -> int:
        known = (username, password) == ("pacs", "x")
        return paramiko.AUTH_SUCCESSFUL if known else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return paramiko.OPEN_SUCCEEDED


@contextmanager
def sftp_server(folder: Path, key: paramiko.PKey) -> Iterator[int]:
    """Run an SFTP server for the length of a with statement; yield its port."""
    files = type("Files", (_Files,), {"root": folder})
    listener = socket.create_server(("127.0.0.1", 0))
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, files)
            transports.append(transport)
            try:
                transport.start_server(server=_Door())
            except (paramiko.SSHException, EOFError):
                continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for transport in transports:
            transport.close()
