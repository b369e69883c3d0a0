"""`ChangeFeed`: Orthanc's changes, each delivered at least once to whoever subscribed, whatever process dies when."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.ports import Archive, Change, ChangeKind, Json
from pacs.studies import settling
from pacs.studies.changes import FeedChange, LoggedChange, before_gap, trace
from pacs.studies.cursor import Clock, Cursor, CursorMoved, Position, utc_now
from pacs.studies.index import StudyIndex
from pacs.studies.settling import Unsettled

_log = logging.getLogger(__name__)

# Called within the transaction that moves the cursor: it writes rows, for example puts work items, and nothing else.
# What it raises stops the feed, which tries again, so that no change passes unseen.
type ChangeSubscriber = Callable[[Session, FeedChange], None]

_CHANGES_AT_ONCE = 1000
# Beyond any number of a change: Orthanc then tells the last number it ever gave.
_BEYOND = 2**62
_RECONCILE_EVERY_SECONDS = 3600.0
_SWEEP_EVERY_SECONDS = 10.0
_LOOK_SECONDS = 0.2
# While images arrive, changes are gathered: reading them costs reception its processor.
_QUIET_SECONDS = 0.5
_GATHER_SECONDS = 3.0
# Orthanc tells "stable" up to some seconds late.
_STABLE_MARGIN = timedelta(seconds=10)
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class _Batch:
    """Changes read at once. `is_end`: there were no more."""

    changes: Sequence[LoggedChange]
    is_end: bool


class ChangeFeed:
    """Reads Orthanc's /changes from where it last was, and keeps the study index and subscribers up to date.

    What subscribers write, the index, and how far the feed has come are committed in one transaction. A change is
    therefore delivered once, unless the database itself is restored to an earlier state; still, subscribers should
    bear to be told twice. Its first start on an archive with history begins at the end: the index is filled, and
    nobody is told of studies that were there before, lest years of them be sent and printed once more.

    Deletions are not in /changes: subscribers can't have them, the index learns of them by `notice` and by comparing.

    Parameters
    ----------
    stable_age_seconds : not less than Orthanc's StableAge.
    poll_seconds : how often to look without being told that something happened.
    hold_seconds : how long after this process's sudden death another one of the same PostgreSQL takes over.
    """

    def __init__(
        self,
        database: Database,
        archive: Archive,
        index: StudyIndex,
        *,
        name: str = "changes",
        stable_age_seconds: float = 60.0,
        poll_seconds: float = 2.0,
        hold_seconds: float = 20.0,
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._archive = archive
        self._index = index
        self._cursor = Cursor(database, name, hold_seconds=hold_seconds, clock=clock)
        self._settles_after = timedelta(seconds=stable_age_seconds) + _STABLE_MARGIN
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._subscribers: list[tuple[frozenset[ChangeKind], ChangeSubscriber]] = []
        self._wake = threading.Event()
        self._position: Position | None = None
        self._numbers_have_gaps = False
        self._forgotten: list[Unsettled] = []
        self._sweep_at = self._reconcile_at = 0.0

    def subscribe(self, kinds: Iterable[ChangeKind], subscriber: ChangeSubscriber) -> None:
        """Have `subscriber` called for changes of these kinds, before the feed runs."""
        self._subscribers.append((frozenset(kinds), subscriber))

    def notice(self, change: Change) -> None:
        """Take a hint that something happened. Called from Orthanc's own thread: returns at once."""
        if change.kind is ChangeKind.DELETED:
            self._index.notice_deletion(change)
        if not self._wake.is_set():
            self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set. A supervised thread."""
        # Whatever was true before this thread raised is found out again.
        self._position, self._forgotten = None, []
        try:
            while not stop.is_set():
                if not self.step():
                    self._rest(stop)
        finally:
            self._cursor.give_back()

    def step(self) -> bool:
        """Deliver up to a thousand changes; tell whether there are more to deliver now.

        Raises
        ------
        ArchiveError, DatabaseError : nothing was committed; the next step does the same again.
        """
        if self._position is None:
            self._begin()
        if not self._cursor.hold():
            self._position = None
            return False
        try:
            return self._deliver_next()
        except CursorMoved as moved:
            _log.info("%s", moved)
            self._position = None
            return False

    # -- where to begin --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Find out where the feed is."""
        self._numbers_have_gaps = bool(self._archive.get_json("/system").get("DatabaseBackendPlugin"))
        position = self._cursor.load()
        if position is None:
            self._cursor.begin(self._end())
            position = self._cursor.load()
        self._position = position
        if position is not None and self._means_another_change(position):
            self._begin_anew(position)

    def _end(self) -> Position:
        last = self._ask(_BEYOND)["Last"]
        _log.info("the feed of changes begins after change %d", last)
        return Position(last, "", _EPOCH)

    def _means_another_change(self, position: Position) -> bool:
        """Tell whether Orthanc has another change under the number of the last one that was delivered."""
        if not position.last_resource_id:
            return False
        lines = self._ask(position.sequence - 1, limit=1)["Changes"]
        return any(line["Seq"] == position.sequence and line["ID"] != position.last_resource_id for line in lines)

    def _begin_anew(self, position: Position) -> None:
        """Read another database from its beginning, past all that is older than what was delivered last."""
        _log.warning(
            "Orthanc does not know change %d, which was delivered: its database was restored or replaced. "
            "Changes are read from the beginning, those before %s skipped.",
            position.sequence,
            position.last_change_at.isoformat(),
        )
        anew = Position(0, "", position.last_change_at, skip_before=position.last_change_at)
        with self._database.session(write=True) as session:
            self._cursor.advance(session, position, anew)
        self._position = anew
        self._index.request_reconciliation()

    # -- delivering ------------------------------------------------------------------------------------------------

    def _deliver_next(self) -> bool:
        position = self._position
        if position is None:
            return False
        batch = self._read(position)
        if batch is None:
            return True
        if batch.changes:
            self._deliver(position, _after(position, batch.changes[-1]), _known(position, batch.changes))
        if not batch.is_end:
            return bool(batch.changes)
        self._when_at_end()
        return False

    def _read(self, position: Position) -> _Batch | None:
        """Read what comes after `position`; None when Orthanc has another database now and the feed begins anew."""
        answer = self._ask(position.sequence)
        changes: Sequence[LoggedChange] = [LoggedChange.of(line) for line in answer["Changes"]]
        # Deleting a study takes its changes away, so the number of the last one listed says nothing; but an answer
        # that lists none tells the last number ever given.
        if not changes and answer["Last"] < position.sequence:
            self._begin_anew(position)
            return None
        safe = before_gap(changes, position.sequence, self._clock()) if self._numbers_have_gaps else changes
        return _Batch(safe, is_end=bool(answer["Done"]) and len(safe) == len(changes))

    def _deliver(self, old: Position, new: Position, changes: Sequence[FeedChange]) -> None:
        """Commit what `changes` lead to, together with the cursor."""
        with self._index.turn():
            touched = trace(self._index.reader, changes)
            received_at = {change.resource_id: change.at for change in changes if change.kind is ChangeKind.NEW_STUDY}
            rows = self._index.read(list(touched.studies.values()), received_at)
            with self._database.session(write=True) as session:
                self._cursor.advance(session, old, new)
                self._index.write(session, rows)
                self._index.forget(session, touched.gone)
                settling.record(session, changes, touched)
                self._tell(session, changes)
        self._position = new

    def _tell(self, session: Session, changes: Sequence[FeedChange]) -> None:
        for change in changes:
            for kinds, subscriber in self._subscribers:
                if change.kind in kinds:
                    subscriber(session, change)

    # -- what Orthanc forgets --------------------------------------------------------------------------------------

    def _when_at_end(self) -> None:
        """Tell what Orthanc forgot, look for more of it, and have the index compared once in a while."""
        # Looked for before all changes were read, told after: had Orthanc told it itself, it would be settled now.
        self._tell_forgotten()
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_EVERY_SECONDS
            self._look_for_forgotten()
        if now >= self._reconcile_at:
            self._reconcile_at = now + _RECONCILE_EVERY_SECONDS
            self._index.request_reconciliation()

    def _look_for_forgotten(self) -> None:
        before = self._clock() - self._settles_after
        with self._database.session() as session:
            waiting = settling.overdue(session, before)
        if not waiting:
            return
        self._forgotten, gone = settling.forgotten(self._index.reader, waiting, before)
        if gone:
            with self._database.session(write=True) as session:
                settling.drop(session, gone)

    def _tell_forgotten(self) -> None:
        candidates, self._forgotten = self._forgotten, []
        position = self._position
        if not candidates or position is None:
            return
        with self._database.session() as session:
            forgotten = settling.still(session, candidates)
        if forgotten:
            _log.info("Orthanc never called %d studies and series stable; it is told now", len(forgotten))
            self._deliver(position, position, [settling.told(one) for one in forgotten])

    # -- asking and waiting ----------------------------------------------------------------------------------------

    def _ask(self, since: int, *, limit: int = _CHANGES_AT_ONCE) -> Json:
        return self._archive.get_json(f"/changes?since={since}&limit={limit}")

    def _rest(self, stop: threading.Event) -> None:
        """Wait until something happened and no more follows, so that a study being received is read in large pieces."""
        look_at = time.monotonic() + self._poll_seconds
        while not stop.is_set() and time.monotonic() < look_at and not self._wake.wait(_LOOK_SECONDS):
            pass
        enough_at = time.monotonic() + _GATHER_SECONDS
        while self._wake.is_set() and time.monotonic() < enough_at:
            self._wake.clear()
            stop.wait(_QUIET_SECONDS)
        self._wake.clear()


def _after(position: Position, last: LoggedChange) -> Position:
    """Return the position after `last`; nothing is skipped any more once changes are new."""
    skip_before = position.skip_before if position.skip_before and last.at < position.skip_before else None
    return replace(
        position,
        sequence=last.sequence,
        last_resource_id=last.resource_id,
        last_change_at=max(last.at, position.last_change_at),
        skip_before=skip_before,
    )


def _known(position: Position, changes: Sequence[LoggedChange]) -> list[FeedChange]:
    """Return those of `changes` that are news and of a kind that the core knows."""
    oldest = position.skip_before or _EPOCH
    known = (change.known() for change in changes if change.at >= oldest)
    return [change for change in known if change is not None]
