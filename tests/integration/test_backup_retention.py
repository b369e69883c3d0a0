"""What retention lets go, over months and years, and what it must not touch; what is there of the past comes back."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fixtures.backup_sites import BackupSite, backup_site, images
from fixtures.backup_times import Clock
from pacs.backup import copies, database, packs, retention
from pacs.backup.orthanc_index import OrthancIndex
from pacs.backup.places import open_places
from pacs.backup.retention import repositories_of
from pacs.backup.scratch import ScratchPostgresql
from pacs.backup.settings import Credentials, PlaceKind, PlaceSettings, Retention
from pacs.errors import NotFound

POLICY = Retention(hourly=0, daily=1, monthly=2, yearly=2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let months go by."""
    return Clock(monkeypatch)


def test_prune_lets_go_of_what_was_deleted_long_ago_and_of_nothing_else(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images deleted before the window leave the disk; newer deletions and the append-only place stay whole.

    New images and the log get to every place while that goes on.
    """
    with backup_site(tmp_path) as site:
        for name in ("kept", "old", "lately"):
            site.store(images(tmp_path, study=name, slices=2))
        assert site.command("database", "full") == 0
        before = names_at(site, "disk", save=True)
        old = delete(site, "BACKUP-old")
        assert site.command("nightly") == 0
        clock.pass_days(20)
        lately = delete(site, "BACKUP-lately")
        assert site.command("nightly") == 0
        clock.pass_days(20)
        site.store(images(tmp_path, study="new", slices=1))
        meanwhile(site, monkeypatch, images(tmp_path, study="meanwhile", slices=1))
        assert site.command("files") == 0
        assert site.command("prune") == 0
        new = set(site.stored_uuids()) - before
        assert len(new) == 2
        assert names_at(site, "disk") == (before - old) | new
        assert names_at(site, "clinic") == before | new
        assert lately <= before - old


def meanwhile(site: BackupSite, monkeypatch: pytest.MonkeyPatch, paths: list[Path]) -> None:
    """Have an image come, and be saved with the log, in the midst of pruning."""
    work = retention._let_go_of_deleted

    def with_traffic(*given: Any) -> None:
        site.store(paths)
        assert site.command("files") == 0
        assert site.command("ship") == 0
        work(*given)

    monkeypatch.setattr(retention, "_let_go_of_deleted", with_traffic)


def test_month_of_which_nothing_is_kept_goes_as_a_whole(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When all images of a month were deleted long ago and no copy goes back to it, its repositories are gone."""
    ranges = copies.ranges
    # PostgreSQL's clock does not go ahead with ours; what is kept is of these days.
    monkeypatch.setattr(
        copies, "ranges", lambda those: [(since + clock.ahead, until + clock.ahead) for since, until in ranges(those)]
    )
    with backup_site(tmp_path) as site:
        only(site, "disk", retention={"hourly": 0, "daily": 1, "monthly": 1, "yearly": 1})
        site.store(images(tmp_path, study="first", slices=1))
        for words in (("database", "full"), ("files",), ("ship",)):
            assert site.command(*words) == 0
        delete(site, "BACKUP-first")
        first = set(repositories(site))
        clock.pass_days(40)
        site.store(images(tmp_path, study="second", slices=1))
        # Two full ones: pgBackRest lets go what was before.
        for words in (("nightly",), ("database", "full"), ("database", "full"), ("files",), ("ship",)):
            assert site.command(*words) == 0
        clock.pass_days(40)
        for words in (("nightly",), ("database", "full"), ("files",), ("ship",), ("prune",)):
            assert site.command(*words) == 0
        assert first
        assert [name for name in repositories(site) if name in first] == []
        assert site.command("files") == 0
        assert site.command("check") == 0


def repositories(site: BackupSite) -> list[str]:
    """Return the repositories of months and days on the disk."""
    return sorted(path.name for path in site.disk_folder.iterdir() if re.search(r"\d", path.name))


def test_policy_holds_over_months_and_years(tmp_path: Path, clock: Clock) -> None:
    """Days, months and years are counted over all months together; a month without a kept copy is gone."""
    settings = PlaceSettings(name="disk", kind=PlaceKind.LOCAL, url=str(tmp_path / "disk"), retention=POLICY)
    (tmp_path / "copy").mkdir()
    (tmp_path / "BACKUP_DISK_PASSWORD").write_text("secret")
    begun, days = datetime(2026, 11, 22, 2, 33, tzinfo=UTC), (0, 1, 40, 41, 72, 400, 401)
    with open_places([settings], Credentials(tmp_path), tmp_path / "cache") as (place,):
        place.prepare()
        for day in days:
            clock.ahead = begun + timedelta(days=day) - datetime.now(UTC)
            (tmp_path / "copy" / "day").write_text(str(day))
            name = f"database-{begun + timedelta(days=day):%Y-%m}"
            place.repository(name).save(tmp_path / "copy", {"database": "whole"}, compressed=True)
        retention._let_go_of_copies(place)
        left = sorted(round((one.snapshot.at - begun) / timedelta(days=1)) for one in copies.at(place))
    # 2027-12-28; 2027-02-02, the last of the month before that has one; 2026-11-23, the last of its year.
    assert left == [1, 72, 401]
    names = sorted(path.name for path in (tmp_path / "disk").iterdir() if path.is_dir())
    assert names == ["database-2026-11", "database-2027-02", "database-2027-12"]


def test_study_comes_back_as_it_was_months_ago(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A moment that pgBackRest here has long let go is found in the copy that a place keeps; others are refused."""
    with backup_site(tmp_path) as site:
        only(site, "clinic")
        paths = images(tmp_path, study="lost", slices=3)
        early = datetime.now(UTC)
        instances = site.store(paths)
        study = site.orthanc.archive.get_json(f"/instances/{instances[0]}/study")
        uid = study["MainDicomTags"]["StudyInstanceUID"]
        for words in (("database", "full"), ("files",), ("ship",)):
            assert site.command(*words) == 0
        then = datetime.now(UTC) - timedelta(seconds=1)
        time.sleep(1)
        site.orthanc.archive.delete(f"/studies/{study['ID']}")
        for words in (("files",), ("database", "full"), ("database", "full")):
            assert site.command(*words) == 0
        clock.pass_days(100)
        site.store(images(tmp_path, study="new", slices=1))
        for words in (("files",), ("database", "full"), ("ship",)):
            assert site.command(*words) == 0
        capsys.readouterr()
        assert site.command("restore", "database", "--plan", "--to", then.isoformat()) == 1
        assert "points" in capsys.readouterr().err
        assert site.command("restore", "study", uid, "--plan", "--place", "clinic", "--to", early.isoformat()) == 1
        assert f"{then:%Y-%m-%d}" in capsys.readouterr().err
        assert goes_back(site, "clinic", then, tmp_path / "scratch") == len(paths)
        assert site.command("points") == 0
        assert f"clinic: any second (UTC) from {then:%Y-%m-%d}" in capsys.readouterr().out
        elsewhere = then.astimezone().isoformat()
        assert site.command("restore", "study", uid, "--do", "--place", "clinic", "--to", elsewhere) == 0
        found = {site.orthanc.archive.get_bytes(f"/instances/{one}/file") for one in instances}
        assert found == {path.read_bytes() for path in paths}


def goes_back(site: BackupSite, name: str, moment: datetime, folder: Path) -> int:
    """Restore the database of a place to a moment by the clock, and return how many images it then has."""
    folder.mkdir()
    settings = site.site().settings.database
    with site.site().place(name) as place:
        database.fetch(place, folder / "pgbackrest", moment)
    cluster = ScratchPostgresql(settings, folder / "pgbackrest", folder)
    cluster.restore({"time": moment.isoformat(sep=" ")})
    with cluster.running(), OrthancIndex(cluster.url(settings.orthanc)) as index, index.reading() as reading:
        return reading.totals()["instances"]


def test_hole_in_the_log_is_told_and_ends_with_the_next_base_backup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No moment after a missing piece is promised; what there is still gets to every place."""
    with backup_site(tmp_path) as site:
        only(site, "disk")
        site.store(images(tmp_path, study="first", slices=1))
        for words in (("database", "full"), ("files",), ("ship",)):
            assert site.command(*words) == 0
        promised = until(site)
        for number in range(3):
            site.store(images(tmp_path, study=f"after-{number}", slices=1))
            assert site.command("files") == 0
        site.wait_for_log()
        pieces = sorted((tmp_path / "pgbackrest/archive/main").glob("*/*/*.zst"))
        pieces[-2].unlink()
        assert site.command("ship") == 1
        assert pieces[-2].name[8:24] in capsys.readouterr().err
        assert until(site) == promised
        assert site.command("database", "incr") == 0
        assert site.command("files") == 0
        assert site.command("ship") == 0
        assert until(site) > promised
        with site.site().place("disk") as place:
            assert not any(copy.covers(promised + timedelta(seconds=1)) for copy in copies.at(place))
        # Nor does this server, before anything stops.
        for seconds, status in ((0, 0), (1, 1)):
            to = (promised + timedelta(seconds=seconds)).isoformat()
            assert site.command("restore", "database", "--plan", "--to", to) == status
        assert "points" in capsys.readouterr().err


def until(site: BackupSite) -> datetime:
    """Return the last moment that the disk promises."""
    with site.site().place("disk") as place:
        return copies.ranges(copies.at(place))[-1][1]


def test_no_backup_runs_while_the_database_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is at work keeps a restore from beginning, and none begins before it has ended."""
    with backup_site(tmp_path) as site:
        only(site, "disk")
        site.store(images(tmp_path, study="first", slices=1))
        for words in (("database", "full"), ("files",), ("ship",)):
            assert site.command(*words) == 0
        with site.site().runs.lock("log"):
            assert site.command("restore", "database", "--do") == 3
        tried = {}

        def work(_: object) -> str:
            tried.update(
                {words: site.command(*words) for words in (("files",), ("ship",), ("database", "incr"), ("prune",))}
            )
            return ""

        monkeypatch.setattr("pacs.backup.restoring.DatabaseRestore._do", work)
        assert site.command("restore", "database", "--do") == 0
        assert set(tried.values()) == {3}
        assert site.command("ship") == 0


def test_image_that_a_restore_names_again_is_not_let_go(tmp_path: Path) -> None:
    """After the database went back, prune waits until `files` has compared; what is named again counts as there."""
    with backup_site(tmp_path) as site:
        only(site, "disk")
        site.store(images(tmp_path, study="again", slices=1))
        assert site.command("files") == 0
        now = datetime.now(UTC)
        with site.site().catalog() as catalog:
            assert catalog.note_gone(set(), now) > 0
            catalog.note("timeline", "FFFFFFFF")
            assert site.command("prune") == 3
            assert site.command("files") == 0
            assert catalog.gone_before(now + timedelta(days=1)) == {}
            assert site.command("prune") == 0


def only(site: BackupSite, name: str, **more: Any) -> None:
    """Have one place alone."""
    places = {
        "disk": {"kind": "local", "url": str(site.disk_folder)},
        "clinic": {"kind": "rest", "url": f"rest:http://127.0.0.1:{site.rest_port}/pacs", "append_only": True},
    }
    site.write_settings(places=[{"name": name, **places[name], **more}])


def delete(site: BackupSite, patient_id: str) -> set[str]:
    """Delete a patient and return the names of the files."""
    former = set(site.stored_uuids())
    for patient in site.orthanc.archive.get_json("/patients"):
        with suppress(NotFound):
            if site.orthanc.archive.get_json(f"/patients/{patient}")["MainDicomTags"]["PatientID"] == patient_id:
                site.orthanc.archive.delete(f"/patients/{patient}")
    return former - set(site.stored_uuids())


def names_at(site: BackupSite, place: str, *, save: bool = False) -> set[str]:
    """Return the names of all files that a place has in any of its snapshots."""
    if save:
        assert site.command("files") == 0
    with site.site().place(place) as opened:
        names = [opened.repository(name) for name in repositories_of(opened) if name.startswith("files-")]
        return {
            member.uuid
            for repository in names
            for snapshot in repository.snapshots()
            for member in packs.members(repository, snapshot.snapshot_id)
        }
