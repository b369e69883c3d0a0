"""The faults of Debian's libraries are put right in the process that asks for it, and told where that can't be done."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
WHOLE_STACKS = """
from pacs.native.linkage import loaded
from pacs.native.thread_stacks import give_http_threads_whole_stacks
print(give_http_threads_whole_stacks())
(slot,) = loaded("libcivetweb.so").references("pthread_attr_setstacksize")
called = ctypes.c_void_p.from_address(slot).value
print(called == ctypes.cast(ctypes.CDLL(None).pthread_attr_setscope, ctypes.c_void_p).value)
attributes = (ctypes.c_char * 256)()
libc = ctypes.CDLL(None)
libc.pthread_attr_init(attributes)
ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)(called)(ctypes.addressof(attributes), 102400)
size = ctypes.c_size_t()
libc.pthread_attr_getstacksize(attributes, ctypes.byref(size))
print(size.value >= 2 * 1024 * 1024)
"""
# Orthanc's web viewer opens an SQLite database as Orthanc does, and is a library that a test can load.
SQLITE_CALLER = "/usr/share/orthanc/plugins/libOrthancWebViewer.so"
SYNCED_COMMITS = """
from pacs.native.index_commits import sync_each_commit_of_the_index
from pacs.native.linkage import loaded
print(sync_each_commit_of_the_index("libOrthancWebViewer.so"))
(slot,) = loaded("libOrthancWebViewer.so").references("sqlite3_exec")
sqlite = ctypes.CDLL("libsqlite3.so.0")
database, levels = ctypes.c_void_p(), []
sqlite.sqlite3_open(b":memory:", ctypes.byref(database))
Row = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p), ctypes.c_void_p)
note = Row(lambda _, count, values, names: levels.append(values[0]) or 0)
Exec = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, Row, ctypes.c_void_p, ctypes.c_void_p)
for sql in (b"PRAGMA SYNCHRONOUS=OFF;", b"PRAGMA SYNCHRONOUS=NORMAL;"):
    Exec(ctypes.c_void_p.from_address(slot).value)(database, sql, Row(), None, None)
    Exec(ctypes.c_void_p.from_address(slot).value)(database, b"PRAGMA SYNCHRONOUS;", note, None, None)
print(*(level.decode() for level in levels))
print(ctypes.c_void_p.from_address(slot).value == ctypes.cast(sqlite.sqlite3_exec, ctypes.c_void_p).value)
"""
DEFERRED = """
import socket, sys
from pacs.native.dicom_port import hold_back_silent_connections
with socket.create_server(("127.0.0.1", 0)) as server:
    print(hold_back_silent_connections(server.getsockname()[1]), hold_back_silent_connections(1))
    server.settimeout(0.3)
    with socket.create_connection(server.getsockname()) as client:
        try:
            server.accept()
            print("accepted")
        except TimeoutError:
            print("silent")
        client.sendall(b"1")
        print(server.accept()[0].recv(1).decode())
"""


def run(program: str, library: str | None) -> list[str]:
    """Run a program in a process of its own, with `library` loaded as Orthanc has it; return the words it prints."""
    if library is not None:
        try:
            ctypes.CDLL(library)
        except OSError:
            pytest.skip(f"{library} is not installed")
    load = f"import ctypes; ctypes.CDLL({library!r})\n" if library else "import ctypes\n"
    done = subprocess.run(
        [sys.executable, "-c", load + program],
        env={"PYTHONPATH": str(PLUGINS)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_http_threads_get_whole_stacks_when_civetweb_is_loaded() -> None:
    """The library's call that made a stack of 100 KB changes nothing any more."""
    assert run(WHOLE_STACKS, "libcivetweb.so.1") == ["True", "True", "True"]


def test_http_threads_keep_their_stacks_when_civetweb_is_not_loaded() -> None:
    """Elsewhere nothing is written anywhere, and the caller is told."""
    program = "from pacs.native.thread_stacks import *\nprint(give_http_threads_whole_stacks())"
    assert run(program, None) == ["False"]


def test_jpeg_ls_encoder_is_switched_off_when_dcmtk_is_there() -> None:
    """DCMTK's own function takes the encoder back."""
    program = "from pacs.native.jpeg_ls_encoder import *\nprint(switch_off_jpeg_ls_encoder())"
    assert run(program, "libdcmjpls.so.19") == ["True"]


def test_index_commits_are_synced_when_orthanc_asks_for_less() -> None:
    """Level 1 (NORMAL) becomes 2 (FULL), all else passes as it is, and afterwards nothing of ours is in between."""
    assert run(SYNCED_COMMITS, SQLITE_CALLER) == ["True", "0", "2", "True"]


def test_index_commits_stay_as_they_are_when_the_program_is_not_orthanc() -> None:
    """Elsewhere nothing is written anywhere, and the caller is told."""
    program = "from pacs.native.index_commits import *\nprint(sync_each_commit_of_the_index())"
    assert run(program, None) == ["False"]


def test_connection_is_accepted_when_it_says_something() -> None:
    """A listener hears of a connection with its first byte; a port that nobody listens on is told."""
    assert run(DEFERRED, None) == ["True", "False", "silent", "1"]
