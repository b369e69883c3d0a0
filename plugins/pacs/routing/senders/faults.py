"""What can go wrong with a target, as the ledger tells it: the peer's own words, and what to do."""

from __future__ import annotations

from enum import StrEnum

from pacs.errors import PacsError


class FaultKind(StrEnum):
    """What becomes of a delivery that met the fault."""

    AWAY = "away"  # nobody there, or it wants nobody now: everything for this target waits
    CUT = "cut"  # it was there, and the connection ended in the middle: the line, or something that it can't bear
    BUSY = "busy"  # there, but out of resources: tried again later
    REFUSED = "refused"  # it understood and does not want it: a person has to look
    WAITS = "waits"  # something of ours that a person will mend, such as a file of settings: it waits until then
    OURS = "ours"  # something of ours: a file that can't be read, an image that can't be converted


class SendingFault(PacsError):
    """A target could not be reached, or did not do what it was asked.

    Parameters
    ----------
    remedy : what a person can do.
    """

    code = "delivery"

    def __init__(self, kind: FaultKind, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.kind = kind
