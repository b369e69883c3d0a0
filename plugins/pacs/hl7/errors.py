"""What can be wrong with a message, in the words of HL7's own answer to it.

Source: HL7 v2.5.1 chapter 2.15.5 (ERR segment) and table 0357 (message error condition codes).
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from pacs.errors import PacsError

# Table 0357.
SEGMENT_SEQUENCE_ERROR = "100"
REQUIRED_FIELD_MISSING = "101"
DATA_TYPE_ERROR = "102"
TABLE_VALUE_NOT_FOUND = "103"
UNSUPPORTED_MESSAGE_TYPE = "200"
UNSUPPORTED_EVENT_CODE = "201"
UNSUPPORTED_PROCESSING_ID = "202"
UNSUPPORTED_VERSION_ID = "203"
UNKNOWN_KEY_IDENTIFIER = "204"
DUPLICATE_KEY_IDENTIFIER = "205"
APPLICATION_RECORD_LOCKED = "206"
APPLICATION_INTERNAL_ERROR = "207"

CONDITIONS = {
    SEGMENT_SEQUENCE_ERROR: "Segment sequence error",
    REQUIRED_FIELD_MISSING: "Required field missing",
    DATA_TYPE_ERROR: "Data type error",
    TABLE_VALUE_NOT_FOUND: "Table value not found",
    UNSUPPORTED_MESSAGE_TYPE: "Unsupported message type",
    UNSUPPORTED_EVENT_CODE: "Unsupported event code",
    UNSUPPORTED_PROCESSING_ID: "Unsupported processing id",
    UNSUPPORTED_VERSION_ID: "Unsupported version id",
    UNKNOWN_KEY_IDENTIFIER: "Unknown key identifier",
    DUPLICATE_KEY_IDENTIFIER: "Duplicate key identifier",
    APPLICATION_RECORD_LOCKED: "Application record locked",
    APPLICATION_INTERNAL_ERROR: "Application internal error",
}


class Hl7Error(PacsError):
    """A message that can't be read or used as it is. Never names a patient.

    Attributes
    ----------
    hl7_code : what is wrong, from table 0357.
    location : where, as ERR-2 writes it: "PID^1^3" is the third field of the first PID. Empty for the whole message.
    rejects : True when not even the kind of the message is taken (AR), False when this one is unusable (AE).
    """

    code = "hl7"
    status = HTTPStatus.BAD_REQUEST
    hl7_code = APPLICATION_INTERNAL_ERROR
    rejects = False

    def __init__(self, message: str, *, remedy: str = "", location: str = "", hl7_code: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.location = location
        self.hl7_code = hl7_code or self.hl7_code

    @property
    def locations(self) -> tuple[str, ...]:
        """Return where something is wrong."""
        return (self.location,) if self.location else ()


class NotHl7(Hl7Error):
    """The bytes hold no MSH segment, so they are no HL7 v2 message at all."""

    hl7_code = SEGMENT_SEQUENCE_ERROR
    rejects = True


class MalformedMessage(Hl7Error):
    """A segment or field that must be there is missing, or does not hold what it must hold."""

    hl7_code = REQUIRED_FIELD_MISSING


class UnknownCharset(Hl7Error):
    """MSH-18 names a character set that nobody here knows, and the message has more than ASCII."""

    hl7_code = TABLE_VALUE_NOT_FOUND


class UndecodableText(Hl7Error):
    """The bytes are not in the character set they should be in; nothing is ever replaced to make them fit."""

    hl7_code = DATA_TYPE_ERROR


class UnencodableText(Hl7Error):
    """The text has characters that the character set asked for lacks."""

    hl7_code = DATA_TYPE_ERROR


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a message, as an ERR segment tells it.

    Attributes
    ----------
    hl7_code : from table 0357.
    location : as ERR-2 writes it, "PID^1^3".
    text : one sentence for who looks into the sender's log; no patient data.
    rejects : True for AR, False for AE.
    """

    hl7_code: str
    location: str
    text: str
    rejects: bool = False

    @classmethod
    def of(cls, error: Hl7Error) -> Fault:
        """Return the fault that an error tells of."""
        return cls(error.hl7_code, error.location, str(error), error.rejects)
