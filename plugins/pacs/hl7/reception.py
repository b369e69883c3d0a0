"""`Reception`: judges what came over a connection, so that the answer is the truth before anything is done with it."""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pacs.hl7.acknowledgments import AckCode, acknowledge, moment
from pacs.hl7.charsets import decode
from pacs.hl7.checks import check
from pacs.hl7.errors import APPLICATION_INTERNAL_ERROR, Fault, Hl7Error
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.models import ERROR_LOCATION_LENGTH
from pacs.hl7.peers import UNKNOWN, Peer, sender_of
from pacs.hl7.storing import Arrival

_log = logging.getLogger(__name__)

_UNKNOWN_SENDER = Fault(
    APPLICATION_INTERNAL_ERROR, "MSH^1^3", "MSH-3 and MSH-4 are of no sender that is expected here.", rejects=True
)
_BROKEN = Fault(APPLICATION_INTERNAL_ERROR, "", "This message could not be checked; the receiver's log tells why.")
_AWAY = Fault(APPLICATION_INTERNAL_ERROR, "", "The message could not be stored. Send it again later.")
# Of MSH-7: to the second (YYYYMMDDHHMMSS).
_SENT_AT_DIGITS = 14
_COUNT = re.compile(r"[0-9]{1,5}\Z")
_PLACE_BYTES = 8
_ENHANCED = {AckCode.AA: AckCode.CA, AckCode.AE: AckCode.CE, AckCode.AR: AckCode.CR}
# MSH-15 (table 0155): whether the sender wants to hear of this outcome.
_WANTED = {
    "NE": frozenset[AckCode](),
    "ER": frozenset({AckCode.CE, AckCode.CR}),
    "SU": frozenset({AckCode.CA}),
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be stored, and whether the sender wants to be answered.

    Attributes
    ----------
    is_enhanced : the answer is a commit acknowledgment, given as MSH-15 asks.
    """

    arrival: Arrival
    is_answered: bool
    is_enhanced: bool


class Reception:
    """Judges messages. Called from one thread; looks at the message alone, never at the database."""

    def __init__(self) -> None:
        self._second = 0
        self._sent_at = ""
        # MSH-10 of our answers: never the same twice, whatever process gives them.
        self._prefix = secrets.token_hex(5).upper()
        self._numbers = itertools.count(1)

    def judge(self, raw: bytes, candidates: Sequence[Peer], address: str, fault: Fault | None = None) -> Judgement:
        """Return how a frame is answered.

        Parameters
        ----------
        candidates : the peers that may be calling from `address`.
        fault : for which it is refused whatever it says.
        """
        header: Header | None = None
        peer: Peer | None = None
        faults: Sequence[Fault] = ()
        try:
            header = Header.scan(raw)
            peer = sender_of(header, candidates)
            faults = (fault,) if fault else _faults(raw, header, peer)
        except Hl7Error as error:
            faults = (fault or Fault.of(error),)
        except Exception:  # noqa: BLE001 (the sender waits for an answer, whatever our fault is)
            # Told to the sender as such: nothing is left without an answer.
            _log.exception("A message of %d bytes could not be checked", len(raw))
            faults = (_BROKEN,)
        return self._judged(raw, address, header, peer, faults)

    def unstored(self, judgement: Judgement) -> bytes | None:
        """Return the answer to what could not be stored, never that it was taken; None where none is wanted."""
        raw = judgement.arrival.raw
        header = _header(raw)
        code = _ENHANCED[AckCode.AE] if judgement.is_enhanced else AckCode.AE
        if judgement.is_enhanced and not _is_wanted(header, code):
            return None
        return acknowledge(header, raw, code, (_AWAY,), sent_at=self._moment(), control_id=self._control_id())

    def _judged(
        self, raw: bytes, address: str, header: Header | None, peer: Peer | None, faults: Sequence[Fault]
    ) -> Judgement:
        if header is None:
            # roles/fail2ban counts these lines (its filter pacs-hl7).
            _log.warning("HL7 junk from %s: %d bytes that are no HL7", address, len(raw))
        code = AckCode.of(faults) if faults else AckCode.AA
        is_enhanced = peer is not None and peer.settings.acknowledge == "enhanced"
        sent = _ENHANCED[code] if is_enhanced else code
        control_id = self._control_id()
        ack = acknowledge(header, raw, sent, faults, sent_at=self._moment(), control_id=control_id)
        name = peer.name if peer else UNKNOWN
        arrival = Arrival(
            peer=name,
            remote_address=address,
            outcome=code.value,
            digest=_digest(name, header, raw) if header and code is AckCode.AA else None,
            error="; ".join(f"{fault.hl7_code} {fault.text}" for fault in faults) or None,
            error_location=faults[0].location[:ERROR_LOCATION_LENGTH] or None if faults else None,
            raw=raw,
            ack=ack,
        )
        return Judgement(arrival, not is_enhanced or _is_wanted(header, sent), is_enhanced)

    def _moment(self) -> str:
        """Return MSH-7 of answers in the server's zone, made once a second."""
        second = int(time.time())
        if second != self._second:
            self._second, self._sent_at = second, moment(datetime.fromtimestamp(second, UTC).astimezone())
        return self._sent_at

    def _control_id(self) -> str:
        return f"{self._prefix}{next(self._numbers)}"


def _faults(raw: bytes, header: Header, peer: Peer | None) -> Sequence[Fault]:
    if peer is None:
        return (_UNKNOWN_SENDER,)
    settings = peer.settings
    text = decode(raw, header, default=settings.charset, sniff_utf8=settings.sniff_utf8).text
    return check(header, Message.parse(text))


def _header(raw: bytes) -> Header | None:
    try:
        return Header.scan(raw)
    except Hl7Error:
        return None


def _digest(peer: str, header: Header, raw: bytes) -> bytes:
    """Tell the same message again from another one under the same control id."""
    origin = (peer, header.sending_application, header.sending_facility, header.control_id)
    digest = hashlib.sha256(repr(origin).encode())
    digest.update(raw)
    return _place(header) + digest.digest()[_PLACE_BYTES:]


def _place(header: Header) -> bytes:
    """Let messages that are sent one after the other lie together in the index of digests.

    MSH-7 grows, and MSH-10 counts, nearly everywhere: a commit then writes a few pages of the index, not one for each
    message. Where they do not, nothing but time is lost.
    """
    sent_at = header.sent_at[:_SENT_AT_DIGITS]
    second = int(sent_at) if sent_at.isascii() and sent_at.isdigit() else 0
    found = _COUNT.search(header.control_id)
    count = int(found[0]) if found else 0
    return second.to_bytes(_PLACE_BYTES - 2) + (count & 0xFFFF).to_bytes(2)


def _is_wanted(header: Header | None, sent: AckCode) -> bool:
    return header is None or sent in _WANTED.get(header.accept_acknowledgment, (sent,))
