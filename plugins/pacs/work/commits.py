"""Something to do once a transaction is durable."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from sqlalchemy import event
from sqlalchemy.orm import Session


def on_commit(session: Session, name: Hashable, action: Callable[[], None]) -> None:
    """Call `action` after the session's next commit; once, however often it was asked for under `name`.

    After a rollback it is forgotten: it belonged to what was rolled back.
    """
    pending: dict[Hashable, Callable[[], None]] | None = session.info.get(_PENDING)
    if pending is None:
        pending = session.info.setdefault(_PENDING, {})
        event.listen(session, "after_commit", _run)
        event.listen(session, "after_rollback", _forget)
    pending[name] = action


_PENDING = "pacs.work.after_commit"


def _run(session: Session) -> None:
    actions = list(session.info[_PENDING].values())
    session.info[_PENDING].clear()
    for action in actions:
        action()


def _forget(session: Session) -> None:
    session.info[_PENDING].clear()
