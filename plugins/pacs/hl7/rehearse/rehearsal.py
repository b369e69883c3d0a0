"""One modality rehearsed: ten checks, each of which uses the services as the hospital will."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from pydicom import Dataset

from pacs.errors import PacsError
from pacs.hl7.acknowledgments import AckReceived
from pacs.hl7.outbound.client import MllpClient, Stopped
from pacs.hl7.peers import Peer
from pacs.hl7.rehearse.evidence import Evidence, Failed, NotTested, Tools, require
from pacs.hl7.rehearse.fiction import BIRTH_DATE, REHEARSAL, SEX, Fiction, Play
from pacs.hl7.rehearse.sheet import Check, Line, Outcome
from pacs.hl7.rehearse.site import KnownStation
from pacs.hl7.rehearse.standing_in import answered_here
from pacs.hl7.rehearse.station import Station
from pacs.worklist.statuses import StepStatus

_ANSWER_SECONDS = 20.0
_LEAD = timedelta(minutes=1)
_FROM_THE_ORDER = {"PatientBirthDate": BIRTH_DATE, "PatientSex": SEX}


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
        self._evidence = Evidence(tools, self._fiction, should_stop)
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
            (Check.ROUTED, self._route),
            (Check.WEB, self._give),
            (Check.COMPLETED, self._end),
            (Check.STATUS_OUT, self._status_out),
        )
        try:
            with answered_here(self._tools.archive, self._known, self._station):
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
        self._evidence.require_order_worked()
        self._is_ordered = True
        return f"{self._message_type} {ack.code}"

    def _worklist(self) -> str:
        if not self._is_ordered:
            raise NotTested("There is no order to ask for.")
        self._evidence.require_entry()
        entry = self._station.find_entry(by_station=self._message_type.startswith("OMI"))
        if entry is None:
            raise Failed(
                f"{self._fiction.ae_title} asked for {self._fiction.modality} of today and the entry was not answered."
            )
        for keyword, wanted in {"PatientName": self._fiction.play.name, **_FROM_THE_ORDER}.items():
            found = str(entry.get(keyword, ""))
            require(found == wanted, f"{keyword}: the order says {wanted!r}, the worklist {found!r}.")
        for keyword in ("AccessionNumber", "StudyInstanceUID"):
            require(bool(entry.get(keyword)), f"{keyword} is missing in the worklist.")
        self._entry = entry
        return f"AccessionNumber {entry.AccessionNumber}, {self._fiction.play.name.replace('^', ', ')}"

    def _begin(self) -> str:
        entry = self._found_entry()
        if not self._reports:
            raise NotTested("MPPS is switched off (Pacs.Mpps.Enabled).")
        self._performed = self._station.begin(entry)
        self._evidence.require_status(StepStatus.STARTED)
        return "N-CREATE, IN PROGRESS"

    def _store(self) -> str:
        image = self._fiction.image(self._found_entry())
        self._station.store(image)
        self._image = image
        self._evidence.require_stored(str(image.StudyInstanceUID))
        if not self._reports:
            self._evidence.require_status(StepStatus.STARTED)
        return "C-STORE"

    def _list(self) -> str:
        study_instance_uid = str(self._stored_image().StudyInstanceUID)
        self._evidence.require_listed(study_instance_uid)
        return study_instance_uid

    def _route(self) -> str:
        study_instance_uid = str(self._stored_image().StudyInstanceUID)
        if self._tools.route is None or not self._tools.route.is_on:
            raise NotTested("Routing is switched off (Pacs.Routing.Enabled).")
        return self._evidence.require_routed(self._tools.route, study_instance_uid)

    def _give(self) -> str:
        image, archive = self._stored_image(), self._tools.archive
        study = str(image.StudyInstanceUID)
        found = archive.get_json(f"/dicom-web/studies?StudyInstanceUID={study}")
        require(len(found) == 1, f"QIDO-RS found {len(found)} studies, expected 1.")
        path = f"/dicom-web/studies/{study}/series/{image.SeriesInstanceUID}/instances/{image.SOPInstanceUID}/frames/1"
        require(image.PixelData in archive.get_bytes(path), "WADO-RS gave other pixels than were stored.")
        return "QIDO-RS, WADO-RS"

    def _end(self) -> str:
        if not self._performed or self._image is None:
            raise NotTested("Nothing was begun that could end.")
        self._station.end(self._performed, self._image)
        self._evidence.require_status(StepStatus.COMPLETED)
        return "N-SET, COMPLETED"

    def _status_out(self) -> str:
        expected = {name: count for name, count in self._tools.site.told().items() if count}
        if not expected:
            raise NotTested("No system is to be told (Pacs.Outbound.Destinations).")
        if not self._performed:
            raise NotTested("Nothing happened to the order that could be told.")
        return self._evidence.require_told(expected)

    def _remove(self) -> str:
        left = self._tools.traces.remove(self._fiction.patient_id)
        if left:
            raise Failed(f"Still there: {', '.join(left)}. Patient {self._fiction.patient_id}.")
        return self._fiction.patient_id

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _line(self, check: Check, look: Callable[[], str]) -> Line:
        started = time.monotonic()
        try:
            if check is not Check.REMOVED:
                self._evidence.go_on()
            outcome, detail = Outcome.PASSED, look()
        except (NotTested, Stopped) as reason:
            outcome, detail = Outcome.NOT_TESTED, str(reason)
        except (PacsError, OSError) as error:
            outcome, detail = Outcome.FAILED, str(error)
        return Line(check, outcome, round(time.monotonic() - started, 3), detail)

    def _found_entry(self) -> Dataset:
        if self._entry is None:
            raise NotTested("The worklist gave no entry to begin with.")
        return self._entry

    def _stored_image(self) -> Dataset:
        if self._image is None:
            raise NotTested("No image was stored that could be looked for.")
        return self._image
