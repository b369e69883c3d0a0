"""Parts of the backups that need no program: settings, locks, the audit trail, moments, restore points."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pacs.backup.database import _link_or_copy
from pacs.backup.database_log import DatabaseLog, piece_number, position
from pacs.backup.errors import BackupError, BackupSettingsError, Busy, PlaceError
from pacs.backup.fixity import _Pass
from pacs.backup.moments import decoded, encoded, extended
from pacs.backup.places import MARKER, open_places
from pacs.backup.points import RestorePoint, newest
from pacs.backup.programs import as_owner
from pacs.backup.restoring import _target
from pacs.backup.retention import kept
from pacs.backup.runs import Runs
from pacs.backup.settings import Credentials, PlaceKind, PlaceSettings, Retention, load

PLACES = "places: [{name: disk, kind: local, url: /mnt/second}]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "places: Field required"),
        ("places: []", "places"),
        ("places: [{name: Disk, kind: local, url: /x}]", "places.0.name"),
        ("places: [{name: disk, kind: tape, url: /x}]", "places.0.kind"),
        (PLACES + "fixity_days: 31", "fixity_days"),
        (PLACES + "colour: blue", "colour: Extra inputs"),
        ("places: [{name: a, kind: local, url: /x}, {name: a, kind: local, url: /y}]", "same name"),
        ("places: [", "is no YAML"),
        ("places: [{name: disk, kind: local, url: mnt/second}]", "expected /FOLDER"),
        ("places: [{name: clinic, kind: rest, url: 'https://clinic:8443/pacs'}]", "expected rest:https://"),
        ("places: [{name: clinic, kind: sftp, url: 'sftp://pacs@clinic:twenty//srv/pacs'}]", "expected sftp:USER@HOST"),
        ("places: [{name: clinic, kind: sftp, url: 'sftp:pacs@clinic:22:/srv/pacs'}]", "expected sftp:USER@HOST"),
        ("places: [{name: cloud, kind: s3, url: 's3:https://clinic.example'}]", "expected s3:https://HOST/BUCKET"),
    ],
)
def test_mistake_in_the_settings_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    """Whatever is wrong in backup.yml is told before anything runs."""
    path = tmp_path / "backup.yml"
    path.write_text(text)
    with pytest.raises(BackupSettingsError, match=words):
        load(path)


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (PlaceKind.LOCAL, "/mnt/second disk"),
        (PlaceKind.REST, "rest:https://clinic.example:8443/pacs"),
        (PlaceKind.REST, "rest:http://[fd00::1]:8000/"),
        (PlaceKind.SFTP, "sftp:pacs@clinic.example:/srv/pacs"),
        (PlaceKind.SFTP, "sftp:clinic:pacs"),
        (PlaceKind.SFTP, "sftp://pacs@127.0.0.1:2222//srv/pacs"),
        (PlaceKind.S3, "s3:https://objects.example/pacs"),
        (PlaceKind.S3, "s3:objects.example:9000/pacs/clinic"),
    ],
)
def test_address_as_restic_writes_it_is_taken(kind: PlaceKind, url: str) -> None:
    """With a port or without, by name or by IPv6."""
    assert PlaceSettings(name="place", kind=kind, url=url).url == url


def test_disk_that_is_not_mounted_gets_nothing(tmp_path: Path) -> None:
    """Without its marker a folder is an empty mount point, and would fill the system's disk."""
    path = tmp_path / "backup.yml"
    path.write_text(f"places: [{{name: disk, kind: local, url: {tmp_path}/second}}]\n")
    with open_places(load(path).places, Credentials(tmp_path), tmp_path / "cache") as (place,):
        with pytest.raises(PlaceError, match="is not mounted"):
            place.require_reachable()
        place.prepare()
        place.require_reachable()
    assert (tmp_path / "second" / MARKER).exists()


def test_second_run_is_refused_while_one_is_at_work(tmp_path: Path) -> None:
    """Never two at once; the lock is free as soon as the first has ended."""
    first, second = Runs(tmp_path), Runs(tmp_path)
    with first.lock("files"), pytest.raises(Busy), second.lock("files"):
        pass
    with second.lock("files"):
        pass


def test_audit_tells_frequent_runs_only_when_something_changes(tmp_path: Path) -> None:
    """Half-minute runs that go well are not a line each; the first that fails is, and the first that is well again."""
    runs = Runs(tmp_path)
    for fails in (False, False, True, True, False, False):
        with suppress(PlaceError), runs.run("log", "clinic"):
            ask(answers=not fails)
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["done", "failed", "done"]


def ask(*, answers: bool) -> None:
    """Ask a place."""
    if not answers:
        raise PlaceError("nobody answers")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("", {}),
        ("0/3000060", {"lsn": "0/3000060"}),
        ("2026-11-22 11:45:00-03:00", {"time": "2026-11-22 11:45:00-03:00"}),
        ("2026-11-22T14:45:00Z", {"time": "2026-11-22 14:45:00+00:00"}),
    ],
)
def test_moment_of_a_restore_is_read(text: str, target: dict[str, str]) -> None:
    """A moment with its time zone, or a place in the log."""
    assert _target(text) == target


@pytest.mark.parametrize("text", ["2026-11-22 11:45:00", "yesterday", "22/11/2026", "0/xyz", "0/"])
def test_moment_that_could_be_two_is_refused(text: str) -> None:
    """An hour without its time zone would restore another one."""
    with pytest.raises(BackupError):
        _target(text)


def point(minute: int, lsn: str, *, counted: bool = False) -> RestorePoint:
    """Return a restore point."""
    return RestorePoint(datetime(2026, 11, 22, 11, minute, tzinfo=UTC), lsn, {"studies": 1} if counted else {})


def test_newest_point_is_one_that_the_log_reaches() -> None:
    """A point whose piece of the log has not arrived is none; one with counted rows is preferred."""
    known = [point(10, "1/4000100"), point(5, "0/3000100"), point(0, "0/2000100", counted=True)]
    assert newest(known, until("0/3FFFFFF"), counted=False).lsn == "0/3000100"
    assert newest(known, until("0/3FFFFFF")).lsn == "0/2000100"
    assert newest(known, until("1/4FFFFFF"), counted=False).lsn == "1/4000100"
    with pytest.raises(BackupError, match="No restore point"):
        newest(known, until("0/1FFFFFF"))


def until(end: str) -> Callable[[str], bool]:
    """Return what tells whether a log that ends at a place reaches another."""
    return lambda lsn: position(lsn) <= position(end)


def test_log_reaches_as_far_as_no_piece_is_missing(tmp_path: Path) -> None:
    """From the base backup before a place in the log every piece must be there; a newer base backup begins anew."""
    info = {
        "name": "main",
        "archive": [{"database": {"id": 1}, "id": "17-1"}],
        "backup": [base("000000010000000000000002", "0/2000100"), base("000000020000000000000105", "1/5000100")],
    }
    for name in ("000000010000000000000002", "000000010000000000000003", "000000010000000000000005"):
        keep(tmp_path, name)
    for name in ("0000000200000001000000FE", "0000000200000001000000FF", "000000020000000200000000"):
        keep(tmp_path, name)
    info["backup"][1] = base("0000000200000001000000FE", "1/FE000100")
    log = DatabaseLog(tmp_path, info)
    assert [log.reaches(lsn) for lsn in ("0/2000000", "0/3000001", "0/4000001", "0/5000001")] == [
        False,
        True,
        False,
        False,
    ]
    assert [log.reaches(lsn) for lsn in ("1/FE000200", "2/100", "2/1000001")] == [True, True, False]
    assert log.gap() == ""
    assert log.unbroken_since("0/3000001") == moment(3)
    assert log.unbroken_since("0/5000001") is None
    assert log.unbroken_since("2/100") == moment(0x1FF)
    keep(tmp_path, "000000020000000200000002")
    assert log.gap() == "0000000200000001"


def moment(second: int) -> datetime:
    """Return a moment of 1970."""
    return datetime.fromtimestamp(second, UTC)


def test_copy_goes_back_no_further_than_its_own_base_backups() -> None:
    """The log that was sent later makes it reach further, not what began with a base backup that is not in it."""
    copy = [(moment(10), moment(20)), (moment(30), moment(30))]
    assert extended(copy, [(moment(0), moment(20)), (moment(30), moment(50))]) == [
        (moment(10), moment(20)),
        (moment(30), moment(50)),
    ]
    assert extended(copy, [(moment(0), moment(50))]) == [(moment(10), moment(50))]
    assert extended(copy, [(moment(40), moment(50)), (moment(1), moment(5))]) == copy
    assert extended([], [(moment(0), moment(50))]) == []
    assert decoded(encoded(copy)) == copy
    assert decoded("") == []


def base(start: str, stop: str) -> dict[str, Any]:
    """Return what pgBackRest tells of a base backup."""
    at = {"stop": piece_number(start)}
    return {"label": start, "database": {"id": 1}, "timestamp": at, "archive": {"start": start}, "lsn": {"stop": stop}}


def keep(repository: Path, name: str) -> None:
    """Have a piece of the log be there."""
    folder = repository / "archive" / "main" / "17-1" / name[:16]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-{'0' * 40}.zst").touch()


def test_policy_keeps_the_last_of_each_period_over_years() -> None:
    """Of a copy a day for three years: the last days, the last of each month and year, and nothing else."""
    last = datetime(2026, 11, 22, 2, 33, tzinfo=UTC)
    days = [last - timedelta(days=number) for number in range(3 * 365)]
    shown = sorted(f"{one:%Y-%m-%d}" for one in kept(days, Retention(hourly=0, daily=3, monthly=4, yearly=3)))
    months, years = ["2026-08-31", "2026-09-30", "2026-10-31"], ["2024-12-31", "2025-12-31"]
    assert shown == [*years, *months, "2026-11-20", "2026-11-21", "2026-11-22"]
    assert kept(days, Retention(hourly=0, daily=1, monthly=0, yearly=0)) == {last}
    hours = [last - timedelta(hours=number) for number in range(100)]
    assert len(kept(hours, Retention(hourly=48, daily=1, monthly=0, yearly=0))) == 48
    assert kept([], Retention()) == set()


def test_piece_of_the_log_is_copied_where_it_cannot_be_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit may change no file's rights: what is copied keeps content and time, and asks for nothing else."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError

    (tmp_path / "piece").write_bytes(b"log")
    os.utime(tmp_path / "piece", (1, 1_700_000_000))
    for name in ("link", "chmod", "setxattr"):
        monkeypatch.setattr(os, name, refused)
    _link_or_copy(tmp_path / "piece", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"log"
    assert (tmp_path / "copy").stat().st_mtime == 1_700_000_000


def test_program_of_another_user_ends_with_the_run_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore that was killed must not be written on by what it started as Orthanc's or PostgreSQL's user."""
    owner = tmp_path.stat().st_uid or 1
    monkeypatch.setattr(Path, "stat", lambda _: os.stat_result((0, 0, 0, 0, owner, owner, 0, 0, 0, 0)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    words = as_owner(tmp_path, ["tar", "--extract"])
    assert words[:2] == ["setpriv", f"--reuid={owner}"]
    assert "--pdeathsig=KILL" in words
    assert words[-3:] == ["--", "tar", "--extract"]


def test_fixity_reads_every_file_within_its_days() -> None:
    """Half of the days, half of the files; a pass that is over time reads all that is left."""
    now = datetime.now(UTC)
    assert _Pass((now - timedelta(days=12, hours=12)).isoformat()).due(1000, 25) == pytest.approx(501, abs=1)
    assert _Pass((now - timedelta(days=26)).isoformat(), done=400).due(1000, 25) > 1000
