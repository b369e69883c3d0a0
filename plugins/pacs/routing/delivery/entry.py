"""A delivery's row in the ledger, in the hands of the thread that works it: what is written down, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from sqlalchemy import select
from sqlalchemy.orm import Session

from pacs.ports import Json
from pacs.routing.delivery import results
from pacs.routing.delivery.ledger import Ledger
from pacs.routing.delivery.models import DeliveryRecord
from pacs.routing.delivery.results import Known
from pacs.routing.delivery.states import DeliveryState
from pacs.work import Claim, GiveBack, Reject


class Entry:
    """One delivery and the piece of work for it.

    Attributes
    ----------
    row : as it was read, with what was changed here since.
    progress : of the piece of work; a next try finds it.
    """

    def __init__(self, ledger: Ledger, claim: Claim, row: DeliveryRecord) -> None:
        self.row = row
        self.progress: dict[str, Json] = dict(claim.item.progress or {})
        self._ledger = ledger
        self._claim = claim

    def known(self) -> dict[str, Known]:
        """Return what is known of its instances, by SOP Instance UID here."""
        with self._ledger.database.session() as session:
            return results.known_of(session, self.row.id)

    def change(self, **values: Any) -> None:
        """Set columns.

        Raises
        ------
        GiveBack : it ended meanwhile: an alternative took over.
        """
        if not self._ledger.change(self.row.id, values):
            raise GiveBack
        for name, value in values.items():
            setattr(self.row, name, value)

    def report(self, **progress: Json) -> None:
        """Keep how far the work is."""
        self.progress |= progress
        self._claim.report_progress(self.progress)

    def end(self, state: DeliveryState, error: str | None = None) -> DeliveryState:
        """End it, and the work with it; what was ordered since this work began is another piece of work's to end.

        Raises
        ------
        GiveBack : as `change`.
        """
        now = self._ledger.queues.clock()
        with self._ledger.database.session(write=True) as session:
            if self._has_successor(session):
                state, error = DeliveryState.WAITING, None
            values: dict[str, Any] = {"state": state.value, "error": error, "remedy": None}
            if state is DeliveryState.PROVEN:
                values["proven_at"] = now
            self._claim.complete(session=session)
            self._set(values, session)
        return state

    def fail(self, error: str, remedy: str) -> NoReturn:
        """Make it a dead letter, unless it was ordered anew meanwhile: then the newer piece of work has its own try.

        Raises
        ------
        Reject : it is one.
        GiveBack : it is none; this piece of work is done, or as `change`.
        """
        with self._ledger.database.session(write=True) as session:
            is_superseded = self._has_successor(session)
            if is_superseded:
                self._claim.complete(session=session)
            state = DeliveryState.WAITING if is_superseded else DeliveryState.FAILED
            self._set({"state": state.value, "error": error, "remedy": remedy}, session)
        if is_superseded:
            raise GiveBack
        raise Reject(f"{error} {remedy}".strip())

    def _set(self, values: Mapping[str, Any], session: Session) -> None:
        if not self._ledger.change(self.row.id, values, session=session):
            raise GiveBack

    def _has_successor(self, session: Session) -> bool:
        """Tell whether something was ordered since this work began: then the next one sees it, and ends it.

        The delivery is locked before the piece of work, as `Ledger` does.
        """
        newest = select(DeliveryRecord.work_item_id).where(DeliveryRecord.id == self.row.id)
        return session.scalars(newest.with_for_update()).one_or_none() != self._claim.item.id
