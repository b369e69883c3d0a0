"""One modality rehearsed: nine checks, each of which uses the services as the hospital will."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom import Dataset
from sqlalchemy import select

from pacs.database import Database
from pacs.errors import NotFound, PacsError
from pacs.hl7.acknowledgments import AckReceived
from pacs.hl7.journal import Entry, Journal, Search
from pacs.hl7.outbound.client import MllpClient, Stopped
from pacs.hl7.peers import Peer
from pacs.hl7.rehearse.fiction import BIRTH_DATE, REHEARSAL, SEX, Fiction, Play
from pacs.hl7.rehearse.sheet import Check, Line, Outcome
from pacs.hl7.rehearse.site import KnownStation, Site
from pacs.hl7.rehearse.station import Station
from pacs.hl7.rehearse.traces import Traces
from pacs.hl7.states import Direction, MessageState
from pacs.ports import Archive
from pacs.studies.models import StudyRecord
from pacs.worklist.models import StepRecord
from pacs.worklist.statuses import StepStatus

_ANSWER_SECONDS = 20.0
_WORKED_SECONDS = 15.0
_SENT_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_LEAD = timedelta(minutes=1)
_FROM_THE_ORDER = {"PatientBirthDate": BIRTH_DATE, "PatientSex": SEX}


class Failed(PacsError):
    """A check found that something does not work."""

    code = "rehearsal"


class NotTested(Exception):
    """A check has nothing to look at here; the message says why."""


@dataclass(frozen=True)
class Tools:
    """What a rehearsal works with."""

    database: Database
    archive: Archive
    journal: Journal
    site: Site
    traces: Traces


class Rehearsal:
    """The rehearsal of one modality.

    Parameters
    ----------
    message_type : of the order, one of `fiction.ORDER_TYPES`.
    play : what it is called.
    now : the hospital's local time.
    should_stop : told while waiting; then what is left is not tested, and removed.
    """

    def __init__(
        self,
        tools: Tools,
        station: KnownStation,
        peer: Peer,
        message_type: str,
        *,
        now: datetime,
        play: Play = REHEARSAL,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tools = tools
        self._known = station
        self._message_type = message_type
        self._should_stop = should_stop
        settings = peer.settings
        self._fiction = Fiction(
            number=Fiction.new_number(),
            ae_title=station.ae_title,
            modality=station.modality,
            start=now + _LEAD,
            application=settings.sending_application or "HIS",
            facility=settings.sending_facility or "REHEARSAL",
            authority=tools.site.authority_of(peer),
            charset=settings.charset,
            play=play,
        )
        mpps, archive = tools.site.mpps_address, tools.site.archive_address()
        self._reports = mpps is not None
        self._station = Station(self._fiction, archive, mpps or archive)
        self._is_ordered = False
        self._entry: Dataset | None = None
        self._image: Dataset | None = None
        self._performed = ""

    def run(self) -> Iterator[Line]:
        """Yield the lines of the sheet as the checks end. Whatever happens, what was left is removed at the end."""
        checks: tuple[tuple[Check, Callable[[], str]], ...] = (
            (Check.ORDER, self._order),
            (Check.WORKLIST, self._worklist),
            (Check.STARTED, self._begin),
            (Check.IMAGE, self._store),
            (Check.INDEX, self._list),
            (Check.WEB, self._give),
            (Check.COMPLETED, self._end),
            (Check.STATUS_OUT, self._status_out),
        )
        try:
            with self._answered_here():
                for check, look in checks:
                    yield self._line(check, look)
        finally:
            removed = self._line(Check.REMOVED, self._remove)
        yield removed

    # -- the checks ----------------------------------------------------------------------------------------------------

    def _order(self) -> str:
        host, port = self._tools.site.hl7_address
        with MllpClient(host, port, answer_seconds=_ANSWER_SECONDS) as client:
            ack = AckReceived.parse(client.ask(self._fiction.order(self._message_type), self._should_stop))
        if not ack.code.is_acceptance:
            raise Failed(f"{ack.code}: {ack.text or 'no reason given'}")
        if ack.control_id != self._fiction.control_id:
            raise Failed(f"MSA-2 is {ack.control_id!r}, expected {self._fiction.control_id}.")
        worked = self._awaited(self._order_worked, _WORKED_SECONDS)
        if worked is None:
            raise Failed("The order is acknowledged and was not worked in time.")
        self._require(worked.state is MessageState.DONE, f"The order became a dead letter: {worked.error}")
        self._is_ordered = True
        return f"{self._message_type} {ack.code}"

    def _worklist(self) -> str:
        if not self._is_ordered:
            raise NotTested("There is no order to ask for.")
        self._require(self._step_status() is not None, "The order made no worklist entry of the patient.")
        entry = self._station.find_entry(by_station=self._message_type.startswith("OMI"))
        if entry is None:
            raise Failed(
                f"{self._fiction.ae_title} asked for {self._fiction.modality} of today and the entry was not answered."
            )
        for keyword, wanted in {"PatientName": self._fiction.play.name, **_FROM_THE_ORDER}.items():
            found = str(entry.get(keyword, ""))
            self._require(found == wanted, f"{keyword}: the order says {wanted!r}, the worklist {found!r}.")
        for keyword in ("AccessionNumber", "StudyInstanceUID"):
            self._require(bool(entry.get(keyword)), f"{keyword} is missing in the worklist.")
        self._entry = entry
        return f"AccessionNumber {entry.AccessionNumber}, {self._fiction.play.name.replace('^', ', ')}"

    def _begin(self) -> str:
        entry = self._found_entry()
        if not self._reports:
            raise NotTested("MPPS is switched off (Pacs.Mpps.Enabled).")
        self._performed = self._station.begin(entry)
        self._wait_for_status(StepStatus.STARTED)
        return "N-CREATE, IN PROGRESS"

    def _store(self) -> str:
        image = self._fiction.image(self._found_entry())
        self._station.store(image)
        self._image = image
        study_instance_uid = str(image.StudyInstanceUID)
        is_there = self._awaited(lambda: self._is_stored(study_instance_uid), _WORKED_SECONDS)
        self._require(is_there, "The archive answered that it stored the image, and does not have it.")
        if not self._reports:
            self._wait_for_status(StepStatus.STARTED)
        return "C-STORE"

    def _list(self) -> str:
        image = self._stored_image()
        statement = select(StudyRecord.id).where(StudyRecord.study_instance_uid == str(image.StudyInstanceUID))

        def listed() -> int | None:
            with self._tools.database.session() as session:
                return session.scalars(statement).first()

        self._require(self._awaited(listed, _WORKED_SECONDS), "The study does not appear in the list of studies.")
        return str(image.StudyInstanceUID)

    def _give(self) -> str:
        image, archive = self._stored_image(), self._tools.archive
        study = str(image.StudyInstanceUID)
        found = archive.get_json(f"/dicom-web/studies?StudyInstanceUID={study}")
        self._require(len(found) == 1, f"QIDO-RS found {len(found)} studies, expected 1.")
        path = f"/dicom-web/studies/{study}/series/{image.SeriesInstanceUID}/instances/{image.SOPInstanceUID}/frames/1"
        self._require(image.PixelData in archive.get_bytes(path), "WADO-RS gave other pixels than were stored.")
        return "QIDO-RS, WADO-RS"

    def _end(self) -> str:
        if not self._performed or self._image is None:
            raise NotTested("Nothing was begun that could end.")
        self._station.end(self._performed, self._image)
        self._wait_for_status(StepStatus.COMPLETED)
        return "N-SET, COMPLETED"

    def _status_out(self) -> str:
        expected = {name: count for name, count in self._tools.site.told().items() if count}
        if not expected:
            raise NotTested("No system is to be told (Pacs.Outbound.Destinations).")
        if not self._performed:
            raise NotTested("Nothing happened to the order that could be told.")
        deadline = time.monotonic() + _SENT_SECONDS
        words = []
        for name, count in expected.items():
            words.append(self._told(name, count, max(deadline - time.monotonic(), 0)))
        return "; ".join(words)

    def _remove(self) -> str:
        left = self._tools.traces.remove(self._fiction.patient_id)
        if left:
            raise Failed(f"Still there: {', '.join(left)}. Patient {self._fiction.patient_id}.")
        return self._fiction.patient_id

    # -- how they look -------------------------------------------------------------------------------------------------

    def _line(self, check: Check, look: Callable[[], str]) -> Line:
        started = time.monotonic()
        try:
            if check is not Check.REMOVED:
                self._go_on()
            outcome, detail = Outcome.PASSED, look()
        except (NotTested, Stopped) as reason:
            outcome, detail = Outcome.NOT_TESTED, str(reason)
        except (PacsError, OSError) as error:
            outcome, detail = Outcome.FAILED, str(error)
        return Line(check, outcome, round(time.monotonic() - started, 3), detail)

    def _told(self, name: str, count: int, seconds: float) -> str:
        """Wait until a destination has acknowledged what it is told about the step."""

        def sent() -> list[Entry]:
            out = Search(text=self._fiction.patient_id, direction=Direction.OUT, peer=name)
            return self._tools.journal.find(out)

        def is_over() -> bool:
            entries = sent()
            return len(entries) >= count and all(entry.state is not MessageState.WAITING for entry in entries)

        self._awaited(is_over, seconds)
        entries = sent()
        done = [entry for entry in entries if entry.state is MessageState.DONE]
        refused = next((entry.error or "" for entry in entries if entry.state is MessageState.FAILED), "")
        self._require(not refused, f"{name}: {refused}")
        self._require(len(done) >= count, f"{name}: {len(done)} of {count} messages acknowledged.")
        return f"{name}: {len(done)}"

    def _order_worked(self) -> Entry | None:
        found = self._tools.journal.find(Search(text=self._fiction.control_id, direction=Direction.IN))
        return next((entry for entry in found if entry.state is not MessageState.WAITING), None)

    def _step_status(self) -> StepStatus | None:
        statement = select(StepRecord.status).where(StepRecord.patient_id == self._fiction.patient_id)
        with self._tools.database.session() as session:
            status = session.scalars(statement).first()
        return StepStatus(status) if status else None

    def _is_stored(self, study_instance_uid: str) -> bool:
        found = self._tools.archive.post_bytes("/tools/lookup", study_instance_uid.encode())
        return any(each["Type"] == "Study" for each in found)

    def _wait_for_status(self, status: StepStatus) -> None:
        is_so = self._awaited(lambda: self._step_status() is status, _WORKED_SECONDS)
        self._require(is_so, f"The worklist entry did not become {status}.")

    def _found_entry(self) -> Dataset:
        if self._entry is None:
            raise NotTested("The worklist gave no entry to begin with.")
        return self._entry

    def _stored_image(self) -> Dataset:
        if self._image is None:
            raise NotTested("No image was stored that could be looked for.")
        return self._image

    def _require(self, condition: object, words: str) -> None:
        if not condition:
            raise Failed(words)

    def _go_on(self) -> None:
        if self._should_stop():
            raise NotTested("The rehearsal was stopped.")

    def _awaited[Found](self, look: Callable[[], Found], seconds: float) -> Found:
        """Look again and again until there is something, and return it; what is nothing still, when time is over."""
        give_up_at = time.monotonic() + seconds
        while not (found := look()) and time.monotonic() < give_up_at:
            self._go_on()
            time.sleep(_LOOK_SECONDS)
        return found

    @contextmanager
    def _answered_here(self) -> Iterator[None]:
        """Let the modality be played from this machine: it is registered with its own address and with its own rights.

        Orthanc and the MPPS service compare addresses; the station that really has the AE title keeps its entry.
        """
        if self._known.entry is None:
            yield
            return
        addresses = dict.fromkeys((self._station.archive.host, self._station.mpps.host))
        paths = [
            f"/modalities/{self._fiction.play.prefix.lower()}{self._fiction.number}-{index}"
            for index in range(len(addresses))
        ]
        try:
            for path, host in zip(paths, addresses, strict=True):
                self._tools.archive.put_json(path, {**self._known.entry, "Host": host})
            yield
        finally:
            for path in paths:
                self._forget(path)

    def _forget(self, path: str) -> None:
        try:
            self._tools.archive.delete(path)
        except NotFound:
            return
