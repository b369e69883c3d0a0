"""Fewer questions between Orthanc's PostgreSQL plugin and its database, so that each image waits less.

The plugin (5.0) asks the server 27 times for one image, over one connection that all threads share, and waits each
time: BEGIN and the kind of transaction one after the other, and each statement that it uses once prepared, executed
and forgotten by a question of its own. Its references to four functions of libpq are pointed at ours, which ask for
the same in fewer questions: BEGIN with its kind, and a statement prepared only when it is executed for a second time.
What is asked, its order and what is answered stay the same. A transaction is committed, and on the disk, as before.

Source: libpq, chapters "Command Execution Functions" and "Connection Status Functions" of PostgreSQL's manual.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pacs.native.linkage import LINKAGE_FAULTS, redirect
from pacs.native.thread_state import keeping_the_thread

_LOG = logging.getLogger(__name__)
_PLUGIN = "libOrthancPostgreSQLIndex.so"
_LIBRARY = "libpq.so.5"
_COMMAND_OK = 1  # ExecStatusType PGRES_COMMAND_OK
_KIND = b"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE "

_POINTER, _NUMBER, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
# PGresult *PQexec(PGconn *, const char *command)
_Exec = ctypes.CFUNCTYPE(_POINTER, _POINTER, _TEXT)
# PGresult *PQprepare(PGconn *, const char *name, const char *query, int nParams, const Oid *types)
_Prepare = ctypes.CFUNCTYPE(_POINTER, _POINTER, _TEXT, _TEXT, _NUMBER, _POINTER)
# PGresult *PQexecPrepared(PGconn *, const char *name, int n, const char *const *values, const int *lengths,
#                          const int *formats, int resultFormat)
_ExecPrepared = ctypes.CFUNCTYPE(_POINTER, _POINTER, _TEXT, _NUMBER, _POINTER, _POINTER, _POINTER, _NUMBER)
# void PQfinish(PGconn *)
_Finish = ctypes.CFUNCTYPE(None, _POINTER)
# Who calls them is no Python: nothing else keeps them.
_kept: list[object] = []


@dataclass
class _Statement:
    """What the plugin believes to be prepared.

    Attributes
    ----------
    types : the Oids of its parameters (unsigned int), as given.
    """

    sql: bytes
    parameters: int
    types: Any
    is_executed: bool = False
    is_prepared: bool = False


@dataclass
class _Connection:
    """What we hold back on one connection, which one thread at a time uses."""

    begins: bool = False
    statements: dict[bytes, _Statement] = field(default_factory=dict)


class _Libpq:
    """The functions of libpq that we call ourselves."""

    def __init__(self) -> None:
        library = ctypes.CDLL(_LIBRARY)
        self.execute = self._function(library.PQexec, _POINTER, _POINTER, _TEXT)
        self.prepare = self._function(library.PQprepare, _POINTER, _POINTER, _TEXT, _TEXT, _NUMBER, _POINTER)
        rest = (_POINTER, _POINTER, _POINTER, _NUMBER)
        self.execute_prepared = self._function(library.PQexecPrepared, _POINTER, _POINTER, _TEXT, _NUMBER, *rest)
        self.execute_parameters = self._function(
            library.PQexecParams, _POINTER, _POINTER, _TEXT, _NUMBER, _POINTER, *rest
        )
        self.finish = self._function(library.PQfinish, None, _POINTER)
        self.status = self._function(library.PQresultStatus, _NUMBER, _POINTER)
        self.clear = self._function(library.PQclear, None, _POINTER)
        self.make_result = self._function(library.PQmakeEmptyPGresult, _POINTER, _POINTER, _NUMBER)

    @staticmethod
    def _function(function: Any, result: Any, *arguments: Any) -> Callable[..., int]:
        function.restype, function.argtypes = result, arguments
        called: Callable[..., int] = function
        return called

    def done(self, connection: int) -> int:
        """Return the result of a command that went well."""
        return self.make_result(connection, _COMMAND_OK)


class _Economy:
    """Stands between the plugin and libpq."""

    def __init__(self, libpq: _Libpq, *, is_alone: bool) -> None:
        self._libpq = libpq
        # With one connection transactions come one after the other whatever their kind; the server need not watch them.
        self._begin = b"BEGIN " if is_alone else b"BEGIN ISOLATION LEVEL SERIALIZABLE "
        self._connections: dict[int, _Connection] = {}

    def execute(self, connection: int, sql: bytes) -> int | None:
        """PQexec."""
        held = self._of(connection)
        if sql == b"BEGIN" and not held.begins:
            held.begins = True
            return self._libpq.done(connection)
        if held.begins and sql.startswith(_KIND):
            held.begins = False
            return self._libpq.execute(connection, self._begin + sql[len(_KIND) :])
        if sql.startswith(b"DEALLOCATE "):
            statement = held.statements.pop(sql[len(b"DEALLOCATE ") :].strip(b'" ;'), None)
            if statement is not None and not statement.is_prepared:
                return self._libpq.done(connection)
        return self._begun(held, connection) or self._libpq.execute(connection, sql)

    def prepare(self, connection: int, name: bytes, sql: bytes, parameters: int, types: int | None) -> int | None:
        """PQprepare."""
        kept = (ctypes.c_uint * parameters).from_buffer_copy(ctypes.string_at(types, 4 * parameters)) if types else None
        self._of(connection).statements[name] = _Statement(sql, parameters, kept)
        return self._libpq.done(connection)

    def execute_prepared(self, connection: int, name: bytes, number: int, *rest: int | None) -> int | None:
        """PQexecPrepared."""
        held = self._of(connection)
        failed = self._begun(held, connection)
        if failed:
            return failed
        statement = held.statements.get(name)
        if statement is None or statement.is_prepared:
            return self._libpq.execute_prepared(connection, name, number, *rest)
        if not statement.is_executed:
            statement.is_executed = True
            return self._libpq.execute_parameters(connection, statement.sql, number, statement.types, *rest)
        prepared = self._libpq.prepare(connection, name, statement.sql, statement.parameters, statement.types)
        if self._libpq.status(prepared) != _COMMAND_OK:
            return prepared
        self._libpq.clear(prepared)
        statement.is_prepared = True
        return self._libpq.execute_prepared(connection, name, number, *rest)

    def finish(self, connection: int) -> None:
        """PQfinish."""
        self._connections.pop(connection, None)
        self._libpq.finish(connection)

    def _of(self, connection: int) -> _Connection:
        return self._connections.setdefault(connection, _Connection())

    def _begun(self, held: _Connection, connection: int) -> int | None:
        """Begin the transaction that was held back, if one was; return the result if that failed."""
        if not held.begins:
            return None
        held.begins = False
        result = self._libpq.execute(connection, b"BEGIN")
        if self._libpq.status(result) != _COMMAND_OK:
            return result
        self._libpq.clear(result)
        return None


def ask_the_index_less_often(*, is_alone: bool, plugin: str = _PLUGIN) -> bool:
    """Have the PostgreSQL plugin wait less for its database.

    Parameters
    ----------
    is_alone : one connection is all that ever writes to the index (IndexConnectionsCount 1, Lock true).

    Returns False, with a warning in the log, where that is not possible: another processor, another build. Call while
    plugins are loaded, after that one and before Orthanc opens its index.
    """
    try:
        economy = _Economy(_Libpq(), is_alone=is_alone)
        for name, function in (
            ("PQexec", _Exec(keeping_the_thread(economy.execute))),
            ("PQprepare", _Prepare(keeping_the_thread(economy.prepare))),
            ("PQexecPrepared", _ExecPrepared(keeping_the_thread(economy.execute_prepared))),
            ("PQfinish", _Finish(keeping_the_thread(economy.finish))),
        ):
            _kept.append(function)
            redirect(plugin, name, function)
    except LINKAGE_FAULTS as error:
        _LOG.warning("Each image waits for its entry in the index longer than it need: %s", error)
        return False
    return True
