"""Mapping tester: paste a message, see the worklist entries that it would become, and why. Nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flask import Blueprint, render_template, request

from pacs.errors import NotFound
from pacs.hl7.acknowledgments import AckCode
from pacs.hl7.checks import check, type_of
from pacs.hl7.errors import Fault, Hl7Error
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.orders import Action, Explanation, OrderMapper, OrderReading, PatientReading, UnusableMessage
from pacs.hl7.orders.applying import check_usable
from pacs.hl7.orders.handlers import ORDERS, PATIENTS
from pacs.hl7.orders.patients import UPDATES
from pacs.hl7.peers import UNKNOWN, Peer
from pacs.hl7.settings import PeerSettings
from pacs.hl7.states import Direction
from pacs.web.message_view import fault_place, view
from pacs.web.navigation import PageModule
from pacs.web.services import Services
from pacs.worklist.statuses import StepStatus

LONGEST_TESTED = 400_000

blueprint = Blueprint("hl7_mapping", __name__)
PAGES = PageModule(blueprint)


@dataclass(frozen=True)
class EntryTrial:
    """A worklist entry as it would be.

    Attributes
    ----------
    status : None where it stays as it is.
    """

    status: StepStatus | None
    explanation: Explanation


@dataclass(frozen=True)
class OrderTrial:
    """An order or appointment with what would be done with it.

    Attributes
    ----------
    faults : why it would become a dead letter: place and words.
    """

    action: Action
    why: str
    entries: tuple[EntryTrial, ...]
    faults: list[tuple[str, str]]


@dataclass
class Trial:
    """What would become of a message.

    Attributes
    ----------
    answer : how it would be acknowledged, with why not, and where.
    patients : whose entries would be changed.
    is_kept : it would be kept in the journal and change nothing.
    """

    type: str = ""
    answer: AckCode | None = None
    faults: list[tuple[str, str]] = field(default_factory=list)
    orders: list[OrderTrial] = field(default_factory=list)
    patients: list[PatientReading] = field(default_factory=list)
    is_kept: bool = False


@blueprint.get("/hl7/mapping")
def index() -> str:
    """Show the empty form, or one with a message of the journal in it."""
    message_id = request.args.get("message", "")
    if not message_id.isdigit():
        return _page("", UNKNOWN, None)
    services = Services.current()
    entry = services.hl7.journal.get(int(message_id))
    peer = services.hl7.peers.named(entry.peer) if entry.direction is Direction.IN else None
    settings = peer.settings if peer else PeerSettings()
    return _page(view(entry.raw, settings).text.replace("\r", "\n"), entry.peer if peer else UNKNOWN, None)


@blueprint.post("/hl7/mapping")
def test() -> str:
    """Show what a message would become; only that when htmx asks."""
    text, name = request.form.get("text", ""), request.form.get("peer", UNKNOWN)
    peers = Services.current().hl7.peers
    peer = peers.named(name) or (Peer(UNKNOWN, PeerSettings()) if name == UNKNOWN else None)
    if peer is None:
        raise NotFound("Expected the name of a sender that is configured, found another.")
    return _page(text, name, try_message(Services.current().mapper, text, peer))


def try_message(mapper: OrderMapper, text: str, peer: Peer) -> Trial:
    """Do with a text what processing would do with the message, up to the point where something would be written."""
    trial = Trial()
    text = text.strip("\x0b\x1c \r\n").replace("\r\n", "\r").replace("\n", "\r")
    try:
        header, message = Header.scan(text.encode("utf-8")), Message.parse(text)
        trial.type = type_of(header, message)
        faults = check(header, message)
        trial.answer, trial.faults = AckCode.of(faults), list(map(_told, faults))
        if not faults:
            _read(trial, mapper, message, header, peer)
    except Hl7Error as error:
        trial.answer = trial.answer or (AckCode.AR if error.rejects else AckCode.AE)
        trial.faults.append(_told(Fault.of(error)))
    return trial


def _read(trial: Trial, mapper: OrderMapper, message: Message, header: Header, peer: Peer) -> None:
    kind, _, event = trial.type.partition("^")
    now = datetime.now(UTC)
    if kind in ORDERS:
        trial.orders = [_order(reading) for reading in mapper.read_message(message, header, peer, now)]
    elif kind in PATIENTS and event in UPDATES:
        trial.patients = [mapper.read_patient(message, pid, peer, now) for pid in message.all("PID")]
    else:
        trial.is_kept = True


def _order(reading: OrderReading) -> OrderTrial:
    entries = tuple(EntryTrial(entry.step.status, entry.explanation) for entry in reading.entries)
    return OrderTrial(reading.action, reading.why, entries, list(_unusable(reading)))


def _unusable(reading: OrderReading) -> Iterator[tuple[str, str]]:
    try:
        check_usable([reading])
    except UnusableMessage as error:
        for fault in error.faults:
            yield fault_place(Fault(fault.hl7_code, fault.location, fault.text)), fault.text


def _told(fault: Fault) -> tuple[str, str]:
    return fault_place(fault), fault.text


def _page(text: str, peer: str, trial: Trial | None) -> str:
    services = Services.current()
    template = "parts/mapping_trial.html" if "HX-Request" in request.headers else "hl7_mapping.html"
    return render_template(
        template,
        text=text,
        peer=peer,
        peers=[one.name for one in services.hl7.peers],
        trial=trial,
        mistakes=services.mapper.library.faults(),
        longest=LONGEST_TESTED,
    )
