"""SQLAlchemy's operational faults as one `DatabaseError` that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from pacs.errors import DatabaseError

_REMEDIES = (
    ("unable to open database file", "Check that the folder exists and may be written to."),
    ("readonly database", "Check who owns the file and its folder, and that the file system is not read-only."),
    ("database is locked", "Another process is writing for too long, or a session that writes lacks write=True."),
    ("disk is full", "Free space on its file system."),
    ("not a database", "The file is damaged or something else. Restore it from the backup."),
    ("malformed", "The file is damaged. Restore it from the backup."),
    ("statement timeout", "The database is overloaded, or the query is too wide."),
    ("lock timeout", "Another process holds a lock for too long. See pg_stat_activity."),
    ("deadlock detected", "Two processes waited for each other. Try again."),
    ("no such table", "Bring the schema up to date: python -m pacs.database upgrade."),
    ("password authentication", "Check user and password."),
    ("does not exist", "Create the database and the user, or correct the address."),
)
_CONNECTION_REMEDY = "Check that the database server runs and that its address, user and password are right."


@contextmanager
def faults_named(database_name: str) -> Iterator[None]:
    """Turn faults of the database itself into `DatabaseError`; wrong statements and broken constraints pass through.

    Parameters
    ----------
    database_name : address without password, for the message.
    """
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError) as error:
        raise _named(database_name, error.orig or error) from error
    except exc.TimeoutError as error:
        message = f"All connections to the database {database_name} are in use."
        raise DatabaseError(message, remedy="Look for sessions that are held too long.") from error
    except exc.DatabaseError as error:
        # Constraint, data and programming faults are subclasses and mean something to the caller.
        if type(error) is not exc.DatabaseError:
            raise
        raise _named(database_name, error.orig or error) from error


def _named(database_name: str, error: BaseException) -> DatabaseError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    remedy = next((remedy for words, remedy in _REMEDIES if words in str(error)), _CONNECTION_REMEDY)
    return DatabaseError(f"The database {database_name} can't be used: {reason.rstrip('.')}.", remedy=remedy)
