"""The answer that each message gets, and the answers that come back for ours.

Source: HL7 v2.5.1 chapter 2.9 (acknowledgment modes), 2.15.8 (MSA), 2.15.5 (ERR), table 0008.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pacs.hl7.errors import CONDITIONS, Fault, MalformedMessage
from pacs.hl7.header import Header
from pacs.hl7.message import Message
from pacs.hl7.segment import Segment
from pacs.hl7.separators import STANDARD_ENCODING, Separators

_FIRST_RELEASE_WITH_ERR = (2, 5)
# Of answers to what tells no version.
_OWN_VERSION = "2.5"
_OWN_RELEASE = (2, 5)


class AckCode(StrEnum):
    """MSA-1: A for the application's word, C for safe storage alone (enhanced mode)."""

    AA = "AA"
    AE = "AE"
    AR = "AR"
    CA = "CA"
    CE = "CE"
    CR = "CR"

    @classmethod
    def of(cls, faults: Sequence[Fault], *, enhanced: bool = False) -> AckCode:
        """Return the code for a message with these faults: accepted without any, rejected when one of them says so."""
        letter = "A" if not faults else "R" if any(fault.rejects for fault in faults) else "E"
        return cls(("C" if enhanced else "A") + letter)

    @property
    def is_acceptance(self) -> bool:
        """Return True when the receiver has the message."""
        return self in {AckCode.AA, AckCode.CA}

    @property
    def is_rejection(self) -> bool:
        """Return True when the receiver will never take such a message."""
        return self in {AckCode.AR, AckCode.CR}


def moment(now: datetime) -> str:
    """Return MSH-7 for a moment, to the second, with its time zone where it has one."""
    return f"{now:%Y%m%d%H%M%S}" + (f"{now:%z}" if now.tzinfo else "")


def acknowledge(
    header: Header | None,
    raw: bytes,
    code: AckCode,
    faults: Sequence[Fault] = (),
    *,
    sent_at: str,
    control_id: str,
) -> bytes:
    """Return the acknowledgment of one message, without frame, in the message's own separators and version.

    Parameters
    ----------
    header : None for what has no MSH; it is answered with an MSH of our own and an empty MSA-2.
    raw : what is answered; told of by its size when it has no header.
    faults : told in ERR segments from version 2.5 on, in MSA-3 before it.
    sent_at : MSH-7 of the answer, see `moment`.
    control_id : MSH-10 of the answer.
    """
    if header is None:
        text = f"{faults[0].text if faults else 'No MSH segment.'} ({len(raw)} bytes)"
        faults = [Fault(faults[0].hl7_code if faults else "100", "", text, rejects=True)]
        separators, release, codec, original = Separators.of("|", STANDARD_ENCODING), _OWN_RELEASE, "ascii", ""
    else:
        separators, codec, original = header.separators, header.codec, header.control_id
        release = header.release if header.version else _OWN_RELEASE
    write = _Writer(separators)
    tells_by_err = release >= _FIRST_RELEASE_WITH_ERR
    segments = [
        _own_header(write, sent_at, control_id) if header is None else _header(write, header, sent_at, control_id),
        write.segment("MSA", code, original, "" if tells_by_err else write.text(_summary(faults))),
    ]
    if tells_by_err:
        segments += [_err(write, fault) for fault in faults]
    return "".join(segment + "\r" for segment in segments).encode(codec)


@dataclass(frozen=True)
class AckReceived:
    """An acknowledgment that another system sent for a message of ours.

    Attributes
    ----------
    control_id : MSA-2, which must be MSH-10 of what was sent.
    text : MSA-3, or the user messages of ERR.
    """

    code: AckCode
    control_id: str
    text: str
    errors: tuple[Fault, ...]

    @classmethod
    def parse(cls, raw: bytes) -> AckReceived:
        """Read an acknowledgment of any version.

        Raises
        ------
        NotHl7
            When the bytes are no message.
        MalformedMessage
            When it has no MSA segment, or MSA-1 is none of table 0008.
        """
        header = Header.scan(raw)
        message = Message.parse(_lenient_text(raw, header))
        msa = message.first("MSA")
        if msa is None:
            raise MalformedMessage(f"Expected an acknowledgment, found {header.type} without MSA.", location="MSA^1")
        try:
            code = AckCode((msa.text(1) or "").strip().upper())
        except ValueError:
            raise MalformedMessage("MSA-1 is no acknowledgment code (table 0008).", location="MSA^1^1") from None
        errors = tuple(_fault_of(err, rejects=code.is_rejection) for err in message.all("ERR"))
        text = msa.text(3) or "; ".join(fault.text for fault in errors if fault.text)
        return cls(code, msa.raw(2), text, errors)


class _Writer:
    """Joins and escapes with one message's separators."""

    def __init__(self, separators: Separators) -> None:
        self.separators = separators

    def text(self, text: str) -> str:
        return self.separators.escaped(text)

    def segment(self, *fields: str) -> str:
        return self.separators.field.join(fields).rstrip(self.separators.field)

    def components(self, *parts: str) -> str:
        """Without a component separator, only the first part can be said."""
        separator = self.separators.component
        return separator.join(parts).rstrip(separator) if separator else parts[0]


def _header(write: _Writer, header: Header, sent_at: str, control_id: str) -> str:
    """Applications change places, all else comes back as it was sent."""
    names_charset = header.codec != "ascii"
    return write.segment(
        "MSH",
        header.encoding_characters,
        header.receiving_application,
        header.receiving_facility,
        header.sending_application,
        header.sending_facility,
        sent_at,
        "",
        _message_type(write, header),
        control_id,
        header.fields[11].strip() or "P",
        header.fields[12].strip() or _OWN_VERSION,
        *(["", "", "", "", "", header.fields[18]] if names_charset else []),
    )


def _own_header(write: _Writer, sent_at: str, control_id: str) -> str:
    return write.segment(
        "MSH", STANDARD_ENCODING, "PACS", "", "", "", sent_at, "", "ACK", control_id, "P", _OWN_VERSION
    )


def _message_type(write: _Writer, header: Header) -> str:
    """MSH-9 has an event since 2.1 where there is one, a structure since 2.3.1."""
    if header.release < (2, 4) and not header.version.startswith("2.3.1"):
        return "ACK"
    return write.components("ACK", header.trigger_event, "ACK" if header.trigger_event else "")


def _summary(faults: Sequence[Fault]) -> str:
    return "; ".join(f"{fault.hl7_code} {fault.location}: {fault.text}".replace(" :", ":") for fault in faults)


def _err(write: _Writer, fault: Fault) -> str:
    location = write.components(*fault.location.split("^")) if fault.location else ""
    condition = write.components(fault.hl7_code, CONDITIONS.get(fault.hl7_code, ""), "HL70357")
    return write.segment("ERR", "", location, condition, "E", "", "", "", write.text(fault.text))


def _lenient_text(raw: bytes, header: Header) -> str:
    """Decode what is only shown to people: a letter that is not right shall not make an answer unreadable."""
    try:
        return raw.decode("utf-8" if header.codec == "ascii" else header.codec)
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _fault_of(err: Segment, *, rejects: bool) -> Fault:
    """Read ERR as it is since 2.5, or its one field before (ELD: segment, sequence, field, code)."""
    if err.raw(3):
        location = err.raw(2).replace(err.separators.component, "^")
        return Fault(err.text(3) or "", location, err.text(8) or err.text(3, 2) or "", rejects)
    location = "^".join(part for part in (err.text(1, position) for position in (1, 2, 3)) if part)
    return Fault(err.text(1, 4) or "", location, err.text(1, 4, 2) or "", rejects)
