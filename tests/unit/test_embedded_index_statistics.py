"""Orthanc's SQLite index is looked at before Orthanc starts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pacs.embedded.index_statistics import refresh_index_statistics


def test_statistics_are_made_when_the_index_has_none(tmp_path: Path) -> None:
    """Afterwards SQLite knows how many rows a key finds, and makes use of it."""
    path = tmp_path / "index"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE Tags (id INTEGER, tag INTEGER)")
        database.execute("CREATE INDEX TagsIndex ON Tags (id)")
        database.executemany("INSERT INTO Tags VALUES (?, ?)", ((number // 10, number) for number in range(5000)))
        database.commit()
    refresh_index_statistics(path)
    with closing(sqlite3.connect(path)) as database:
        ((rows, each),) = (stat.split() for (stat,) in database.execute("SELECT stat FROM sqlite_stat1"))
    assert (int(rows), int(each)) == (5000, 10)


def test_start_goes_on_when_there_is_no_index_yet(tmp_path: Path) -> None:
    """Orthanc makes its index; nothing is made in its place."""
    refresh_index_statistics(tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


def test_start_goes_on_when_the_index_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is told and left as it is: what to do about it is for Orthanc to say."""
    path = tmp_path / "index"
    path.write_bytes(b"no database" * 1000)
    refresh_index_statistics(path)
    assert str(path) in caplog.text
    assert path.read_bytes() == b"no database" * 1000
