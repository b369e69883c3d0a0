"""What can be wrong with rules, told with the line and the cure, all faults together."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from pacs.errors import PacsError


class RulesError(PacsError):
    """A file of rules can't be used. Carries every fault of it, each with its line and its cure."""

    code = "routing-rules"
    status = HTTPStatus.BAD_REQUEST

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(f"{len(faults)} mistake(s) in the rules:\n" + "\n".join(f"  - {fault}" for fault in faults))
        self.faults = list(faults)
