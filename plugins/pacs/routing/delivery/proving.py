"""Having a target prove what it has: by storage commitment where that is asked for, else by asking it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pacs.ports import Json
from pacs.routing.delivery.children import Children
from pacs.routing.delivery.commitment import Commitment
from pacs.routing.delivery.results import Known
from pacs.work import Claim

# A report that comes at once is waited for; for others one looks again later.
_REPORT_LOOKS = 12
_REPORT_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Answer:
    """What a target says (SOP Instance UIDs here).

    Attributes
    ----------
    proven : it has them.
    denied : it says that it has not got them, with these `words`. Others may still come.
    transaction : the request that is still open; None when all was answered.
    """

    proven: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    words: str = ""
    transaction: str | None = None


class Proving:
    """Asks one target about one delivery."""

    def __init__(self, commitment: Commitment, children: Children, target: str, argument: Json, claim: Claim) -> None:
        self._commitment = commitment
        self._children = children
        self._target = target
        self._argument = argument
        self._claim = claim

    def proven(self, unproven: Mapping[str, Known], *, by_commitment: bool, transaction: str | None) -> Answer:
        """Ask for `unproven`, by SOP Instance UIDs here.

        Raises
        ------
        SendingFault : it could not be asked.
        """
        if not by_commitment:
            wanted = [(one.sent_study_uid, one.sent_series_uid, one.sent_sop_uid) for one in unproven.values()]
            return Answer(_those(unproven, self._children.found(self._argument, wanted)))
        if transaction is None:
            asked = [(one.sop_class_uid, one.sent_sop_uid) for one in unproven.values()]
            transaction = self._commitment.request(self._target, self._argument, asked)
        for _ in range(_REPORT_LOOKS):
            report = self._commitment.report(transaction)
            if report is not None:
                return Answer(_those(unproven, report.committed), _those(unproven, report.failed), report.words)
            if self._claim.wait_for_stop(_REPORT_LOOK_SECONDS):
                break
        return Answer(transaction=transaction)


def _those(unproven: Mapping[str, Known], found: frozenset[str] | set[str]) -> list[str]:
    return [uid for uid, one in unproven.items() if one.sent_sop_uid in found]
