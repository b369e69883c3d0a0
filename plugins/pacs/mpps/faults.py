"""Why a report of a performed step is refused: each fault has its DIMSE status (PS3.7 annex C, PS3.4 F.7.2)."""

from __future__ import annotations

from enum import IntEnum

from pydicom import Dataset

from pacs.errors import PacsError

_COMMENT_CHARACTERS = 64


class Status(IntEnum):
    """DIMSE statuses that are answered."""

    SUCCESS = 0x0000
    INVALID_ATTRIBUTE_VALUE = 0x0106
    ATTRIBUTE_LIST_ERROR = 0x0107
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_INSTANCE = 0x0111
    NO_SUCH_INSTANCE = 0x0112
    INVALID_INSTANCE = 0x0117
    MISSING_ATTRIBUTE = 0x0120
    MISSING_VALUE = 0x0121
    NOT_AUTHORIZED = 0x0124


# Error ID of PROCESSING_FAILURE: the step has ended, it may no longer be updated (PS3.4 F.7.2.2.2).
NO_LONGER_UPDATED = 0xA710


class MppsFault(PacsError):
    """A report that can't be taken."""

    code = "mpps"

    def __init__(self, status: Status, message: str, *, remedy: str = "", error_id: int | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.dimse_status = status
        self.error_id = error_id

    def answer(self) -> Dataset:
        """Return the status of the answer, with the reason in Error Comment (VR LO, 64 characters)."""
        return answer(self.dimse_status, self.message, self.error_id)


def answer(status: Status, comment: str = "", error_id: int | None = None) -> Dataset:
    """Return the status of an answer."""
    given = Dataset()
    given.Status = int(status)
    if comment:
        given.ErrorComment = comment.encode("ascii", "replace").decode().replace("\\", "/")[:_COMMENT_CHARACTERS]
    if error_id is not None:
        given.ErrorID = error_id
    return given
