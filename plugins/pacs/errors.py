"""The error family: the core raises these, one table at each edge turns them into answers.

An error says what was expected, what was found, where, and what to do about it.
The web edge answers with a JSON problem (RFC 9457), see `Problem`.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus


class PacsError(Exception):
    """Any fault this project can name. `str(error)` is a sentence that a person can act on.

    Attributes
    ----------
    code : stable identifier of the kind of fault, used in problems, metrics and logs.
    status : HTTP status that the fault has at the web edge.
    """

    code = "internal"
    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class SettingsError(PacsError):
    """The settings can't be used. Carries every fault, not only the first."""

    code = "settings"

    def __init__(self, faults: list[str]) -> None:
        super().__init__(f"{len(faults)} mistake(s) in the settings:\n" + "\n".join(f"  - {fault}" for fault in faults))
        self.faults = faults


class InvalidInput(PacsError):
    """What a person or a peer sent can't be understood or is not allowed."""

    code = "invalid-input"
    status = HTTPStatus.BAD_REQUEST


class NotFound(PacsError):
    """The thing asked for is not here (any more)."""

    code = "not-found"
    status = HTTPStatus.NOT_FOUND


class Conflict(PacsError):
    """The request does not fit the state that things are in."""

    code = "conflict"
    status = HTTPStatus.CONFLICT


class TooLarge(PacsError):
    """What was sent or asked for is over a limit."""

    code = "too-large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class ArchiveError(PacsError):
    """Orthanc refused or failed at what it was asked."""

    code = "archive"
    status = HTTPStatus.BAD_GATEWAY


class PeerError(PacsError):
    """Another DICOM, DICOMweb or HL7 system refused, failed or did not answer."""

    code = "peer"
    status = HTTPStatus.BAD_GATEWAY


class DatabaseError(PacsError):
    """The plugins' own database can't be used."""

    code = "database"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class ProcessError(PacsError):
    """A child process failed. See `pacs.processes` for its kinds."""

    code = "process"


@dataclass(frozen=True)
class Problem:
    """A problem detail for HTTP (RFC 9457, section 3)."""

    type: str
    title: str
    status: int
    detail: str

    @classmethod
    def of(cls, error: Exception) -> Problem:
        """Describe `error`; whatever is not a `PacsError` is an internal fault, told without its inner words."""
        if isinstance(error, PacsError):
            status, code, detail = error.status, error.code, str(error)
        else:
            status, code = PacsError.status, PacsError.code
            detail = "Something went wrong inside the server. The log has the details under this moment."
        return cls(type=f"urn:pacs-cloud:problem:{code}", title=status.phrase, status=int(status), detail=detail)

    def as_dict(self) -> dict[str, str | int]:
        """Return the members as RFC 9457 names them, ready for `application/problem+json`."""
        return {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
