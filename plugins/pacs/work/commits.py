"""A piece of work in its own transaction or in the caller's, and what is to be done once that is durable."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from pacs.database import Database

type Action = Callable[[], None]


@dataclass(frozen=True)
class Joined:
    """A transaction that writes.

    Attributes
    ----------
    after_commit : call `after_commit(name, action)` for an action to be run after the commit; once for a name, and
        not at all after a rollback.
    """

    connection: Connection
    after_commit: Callable[[Hashable, Action], None]


@contextmanager
def joined(database: Database, session: Session | None) -> Iterator[Joined]:
    """Yield the caller's transaction, or one of our own that is committed at the end of the block."""
    if session is not None:
        yield Joined(session.connection(), partial(_on_commit, session))
        return
    actions: dict[Hashable, Action] = {}
    with database.transaction() as connection:
        yield Joined(connection, actions.__setitem__)
    for action in actions.values():
        action()


def _on_commit(session: Session, name: Hashable, action: Action) -> None:
    pending: dict[Hashable, Action] | None = session.info.get(_PENDING)
    if pending is None:
        pending = session.info.setdefault(_PENDING, {})
        event.listen(session, "after_commit", _run)
        event.listen(session, "after_rollback", _forget)
    pending[name] = action


_PENDING = "pacs.work.after_commit"


def _run(session: Session) -> None:
    if session.in_nested_transaction():
        # The end of a savepoint: nothing is durable yet.
        return
    actions = list(session.info[_PENDING].values())
    session.info[_PENDING].clear()
    for action in actions:
        action()


def _forget(session: Session) -> None:
    session.info[_PENDING].clear()
