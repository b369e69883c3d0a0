"""HL7 journal: every message in and out, what it became, and what people decide on dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as WerkzeugResponse

from pacs.errors import InvalidInput
from pacs.hl7.acknowledgments import AckReceived
from pacs.hl7.checks import check
from pacs.hl7.decisions import Choice
from pacs.hl7.errors import Fault, Hl7Error
from pacs.hl7.header import Header
from pacs.hl7.journal import Entry
from pacs.hl7.message import Message
from pacs.hl7.peers import UNKNOWN
from pacs.hl7.settings import PeerSettings
from pacs.hl7.states import Direction, MessageState
from pacs.web.journal_form import STATES, JournalForm
from pacs.web.language import N_, gettext, hospital_now
from pacs.web.message_view import differences, fault_place, place_to_correct, read_text, view, written
from pacs.web.navigation import NavigationEntry, PageModule
from pacs.web.period import PERIOD_TITLES
from pacs.web.person import current_actor
from pacs.web.search_page import render_search
from pacs.web.services import Services

# What comes here, by MSH-9.1.
KINDS = {
    "ADT": N_("Patient"),
    "ORM": N_("Order"),
    "OMG": N_("Order"),
    "OMI": N_("Imaging order"),
    "SIU": N_("Appointment"),
    "ORU": N_("Result"),
    "MDM": N_("Document"),
    "ACK": N_("Acknowledgment"),
}
STATE_TITLES = {
    "": N_("All"),
    "failed": N_("Dead letters"),
    "waiting": N_("Waiting"),
    "refused": N_("Refused"),
    "done": N_("Done"),
    "aside": N_("Set aside"),
}
_LONGEST_REASON = 500
_LONGEST_EDITED = 400_000

blueprint = Blueprint("hl7_journal", __name__)
PAGES = PageModule(
    blueprint, (NavigationEntry(N_("HL7"), "hl7_journal.index", 60, "hl7", covers=("hl7_mapping", "rehearsal")),)
)


@blueprint.get("/hl7")
def index() -> Response:
    """Show the journal, newest first; only the list when htmx asks."""
    services = Services.current()
    form = JournalForm.read(request.args)
    size = services.web.page_size
    entries = services.hl7.journal.find(form.search(hospital_now(), size + 1))
    return render_search(
        "hl7_journal.html",
        "parts/journal_results.html",
        form.address(),
        form=form,
        entries=entries[:size],
        older=entries[size - 1].id if len(entries) > size else None,
        kinds=KINDS,
        states=STATE_TITLES,
        dead_letters=_dead_letters(services),
        periods=PERIOD_TITLES,
        peers=_peer_names(services),
    )


@blueprint.get("/hl7/messages/<int:message_id>")
def show(message_id: int) -> str:
    """Show a message: raw, field by field, what it became, how it was answered."""
    services = Services.current()
    entry = services.hl7.journal.get(message_id)
    former = services.decisions.about(entry.corrected_from) if entry.corrected_from else []
    ack = _ack(entry)
    return render_template(
        "hl7_message.html",
        entry=entry,
        view=view(entry.raw, _settings_of(entry), _error_locations(entry, ack)),
        ack=ack,
        kinds=KINDS,
        decisions=services.decisions.about(message_id),
        correction=next((each for each in former if each.choice is Choice.CORRECTED), None),
        error_place=_error_place(entry),
        error_words=_error_words(entry),
        is_dead=entry.state is MessageState.FAILED,
        is_incoming=entry.direction is Direction.IN,
    )


@blueprint.post("/hl7/messages/<int:message_id>/replay")
def replay(message_id: int) -> WerkzeugResponse:
    """Try a dead letter again as it is."""
    Services.current().decisions.replay(message_id, actor=current_actor())
    return _to(message_id, "replayed")


@blueprint.get("/hl7/messages/<int:message_id>/skip")
def ask_skip(message_id: int) -> str:
    """Ask before a dead letter is set aside."""
    return render_template("hl7_skip.html", entry=Services.current().hl7.journal.get(message_id))


@blueprint.post("/hl7/messages/<int:message_id>/skip")
def skip(message_id: int) -> WerkzeugResponse:
    """Set a dead letter aside."""
    reason = request.form.get("reason", "").strip()[:_LONGEST_REASON]
    Services.current().decisions.skip(message_id, actor=current_actor(), reason=reason)
    return _to(message_id, "skipped")


@blueprint.get("/hl7/messages/<int:message_id>/edit")
def edit(message_id: int) -> str:
    """Show the forms in which a dead letter is corrected."""
    entry = Services.current().hl7.journal.get(message_id)
    place = place_to_correct(entry.error_location)
    text = view(entry.raw, _settings_of(entry)).text
    return _form(entry, text, place, _value_at(text, place), [])


@blueprint.post("/hl7/messages/<int:message_id>/edit")
def correct(message_id: int) -> ResponseReturnValue:
    """Replay a dead letter with another value at one place, or with another text."""
    services = Services.current()
    entry = services.hl7.journal.get(message_id)
    peer = _settings_of(entry)
    before = view(entry.raw, peer).text
    place, value, text = (request.form.get(name, "") for name in ("place", "value", "text"))
    try:
        after = text or _with_value(before, place.strip().upper(), value)
        raw = written(after, entry.raw, peer)
        after = read_text(raw, peer)[0]
        faults = check(Header.scan(raw), Message.parse(after))
        changes = differences(before, after)
    except Hl7Error as error:
        faults, changes = [Fault.of(error)], []
    except InvalidInput as error:
        faults, changes = [Fault("", "", str(error))], []
    if not faults and not changes:
        faults = [Fault("", "", gettext("Nothing was changed. Correct something, or replay it as it is."))]
    if faults:
        return _form(entry, text or before, place, value, faults), HTTPStatus.UNPROCESSABLE_ENTITY
    corrected = services.decisions.correct(message_id, raw, actor=current_actor(), changes=changes)
    return _to(corrected, "corrected")


def _form(entry: Entry, text: str, place: str, value: str, faults: list[Fault]) -> str:
    return render_template(
        "hl7_edit.html",
        entry=entry,
        text=text.replace("\r\n", "\n").replace("\r", "\n"),
        is_editable=len(text) <= _LONGEST_EDITED,
        place=place,
        value=value,
        faults=[(fault_place(fault), fault.text) for fault in faults],
        error_place=_error_place(entry),
        error_words=_error_words(entry),
    )


def _with_value(text: str, place: str, entered: str) -> str:
    """Return a text with another value; nothing entered empties the place, two quotes are HL7's null."""
    value = None if not entered else "" if entered == '""' else entered
    return str(Message.parse(text).with_value(place, value))


def _value_at(text: str, place: str) -> str:
    try:
        value = Message.parse(text).text(place) if place else None
    except (Hl7Error, InvalidInput):
        return ""
    return '""' if value == "" else value or ""


def _to(message_id: int, done: str) -> WerkzeugResponse:
    return redirect(url_for("hl7_journal.show", message_id=message_id, done=done), HTTPStatus.SEE_OTHER)


def _ack(entry: Entry) -> dict[str, Any] | None:
    """Return the answer as text and taken apart; one that is no acknowledgment as text alone."""
    if not entry.ack:
        return None
    text = entry.ack.decode("utf-8", "replace").replace("\r", "\n")
    try:
        return {"text": text, "read": AckReceived.parse(entry.ack)}
    except Hl7Error:
        return {"text": text, "read": None}


def _settings_of(entry: Entry) -> PeerSettings:
    """Return how a message is to be read: what we send says its character set itself."""
    peers = Services.current().hl7.peers
    peer = peers.named(entry.peer) if entry.direction is Direction.IN else None
    found = peer or peers.named(UNKNOWN)
    return found.settings if found else PeerSettings()


def _error_locations(entry: Entry, ack: Mapping[str, Any] | None) -> list[str]:
    """Return every place that is at fault: those of a dead letter, or those that its sender was told."""
    told = list((entry.result or {}).get("locations", ()))
    if not told and entry.state is MessageState.REFUSED and ack and ack["read"]:
        told = [fault.location for fault in ack["read"].errors]
    return list(dict.fromkeys([entry.error_location or "", *told]))


def _error_place(entry: Entry) -> str:
    return fault_place(Fault("", entry.error_location or "", ""))


def _error_words(entry: Entry) -> str:
    """Return why it failed, without the place that is told before it."""
    return (entry.error or "").removeprefix(f"{entry.error_location}: ")


def _dead_letters(services: Services) -> int:
    counts = services.hl7.journal.counts()
    return sum(count for (_, state), count in counts.items() if state in STATES["failed"])


def _peer_names(services: Services) -> list[str]:
    return sorted({*(peer.name for peer in services.hl7.peers), *services.rehearsals.site.told()})
