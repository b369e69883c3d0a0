"""Orthanc's SQLite index, on the disk before an image is acknowledged.

Orthanc opens its index with `PRAGMA SYNCHRONOUS=NORMAL` in WAL mode: a commit is written and not synced, so that a
power cut takes the entries of the last images with it, although their files are synced and their senders were told
Success. The pragma is compiled in. Orthanc's reference to `sqlite3_exec` is therefore pointed at a function of ours
until the pragma comes by, which is given to SQLite as FULL: every commit is synced before it returns.

Source: https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import ctypes
import logging

from pacs.native.linkage import LINKAGE_FAULTS, address_of, point, redirect

_LOG = logging.getLogger(__name__)
_ORTHANC = "Orthanc"
_SQLITE = "libsqlite3.so.0"
_CALLED = "sqlite3_exec"
_NORMAL, _FULL = b"PRAGMA SYNCHRONOUS=NORMAL;", b"PRAGMA SYNCHRONOUS=FULL;"
# int sqlite3_exec(sqlite3*, const char *sql, int (*callback)(...), void *, char **errmsg)
_Exec = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)
# Who calls them is no Python: nothing else keeps them.
_kept: list[object] = []


def sync_each_commit_of_the_index(program: str = _ORTHANC) -> bool:
    """Have Orthanc open its SQLite index with every commit synced; it costs one fdatasync an image.

    Returns False, with a warning in the log, where that is not possible: another processor, another build of Orthanc.
    Call while plugins are loaded, which is before Orthanc opens its index. With an index in PostgreSQL nothing happens.
    """
    try:
        real = _Exec(address_of(getattr(ctypes.CDLL(_SQLITE), _CALLED)))

        def execute(database: int, sql: bytes, callback: int, argument: int, message: int) -> int:
            if sql == _NORMAL:
                point(references, address_of(real))
                sql = _FULL
            return int(real(database, sql, callback, argument, message))

        _kept.append(instead := _Exec(execute))
        references = redirect(program, _CALLED, instead)
    except LINKAGE_FAULTS as error:
        _LOG.warning("A power cut can take the last images out of Orthanc's SQLite index: %s", error)
        return False
    return True
