"""Parts of the backups that need no program: settings, locks, the audit trail, moments, restore points."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pacs.backup.errors import BackupError, BackupSettingsError, Busy, PlaceError
from pacs.backup.fixity import _Pass
from pacs.backup.places import MARKER, open_places
from pacs.backup.points import RestorePoint, newest_within
from pacs.backup.restoring import _target
from pacs.backup.runs import Runs
from pacs.backup.settings import Credentials, load

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
    ],
)
def test_mistake_in_the_settings_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    """Whatever is wrong in backup.yml is told before anything runs."""
    path = tmp_path / "backup.yml"
    path.write_text(text)
    with pytest.raises(BackupSettingsError, match=words):
        load(path)


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
    known = [point(0, "0/2000100", counted=True), point(5, "0/3000100"), point(10, "1/4000100")]
    assert newest_within(known, "000000010000000000000003", counted=False).lsn == "0/3000100"
    assert newest_within(known, "000000010000000000000003").lsn == "0/2000100"
    assert newest_within(known, "000000010000000100000004", counted=False).lsn == "1/4000100"
    with pytest.raises(BackupError, match="No restore point"):
        newest_within(known, "000000010000000000000001")


def test_fixity_reads_every_file_within_its_days() -> None:
    """Half of the days, half of the files; a pass that is over time reads all that is left."""
    now = datetime.now(UTC)
    assert _Pass((now - timedelta(days=12, hours=12)).isoformat()).due(1000, 25) == pytest.approx(501, abs=1)
    assert _Pass((now - timedelta(days=26)).isoformat(), done=400).due(1000, 25) > 1000
