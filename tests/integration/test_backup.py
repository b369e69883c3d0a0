"""Files and database saved by the real tools at two places, and found whole there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fixtures.backup_sites import SERVER_LOGIN, BackupSite, backup_site, images, write_only_front
from pacs.backup import packs, programs, signing
from pacs.backup.catalog import Broken
from pacs.backup.errors import BackupError, PlaceError
from pacs.backup.overview import Backups
from pacs.errors import NotFound


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackupSite]:
    """Give one archive with its backups to the module."""
    with backup_site(tmp_path_factory.mktemp("backup")) as made:
        yield made


def test_files_are_at_both_places_as_they_are_in_the_archive(site: BackupSite, tmp_path: Path) -> None:
    """What was stored is at each place after one run, byte for byte."""
    site.store(images(tmp_path, study="first"))
    assert site.command("files") == 0
    assert (
        contents(site, "disk")
        == contents(site, "clinic")
        == {name: path.read_bytes() for name, path in site.stored_uuids().items()}
    )


def contents(site: BackupSite, place: str) -> dict[str, bytes]:
    """Return all files that a place has."""
    found = {}
    with site.site().place(place) as opened, site.site().catalog() as catalog:
        for batch, (_, _, snapshot) in catalog.sent(place).items():
            repository = opened.repository(f"files-{batch[:7]}")
            found |= {one.uuid: one.content.read() for one in packs.members(repository, snapshot)}
    return found


def test_drill_proves_a_backup_that_is_good(site: BackupSite, tmp_path: Path) -> None:
    """Everything of the newest point is restored, compared and opened; the report says so and is signed."""
    site.store(images(tmp_path, study="drill"))
    save_all(site)
    assert site.command("drill", "--place", "clinic", "--language", "es") == 0
    reports = sorted((site.folder / "state" / "reports").glob("*.es.txt"))
    assert "BIEN." in reports[-1].read_text()
    assert signing.is_right(reports[-1], reports[-1].with_name("signing.pub"))


def save_all(site: BackupSite) -> None:
    """Save database, files and log, as the timers do over a day."""
    assert site.command("database", "full") == 0
    assert site.command("nightly") == 0
    assert site.command("ship") == 0


def test_repair_puts_a_broken_file_back_and_keeps_the_broken_one(site: BackupSite, tmp_path: Path) -> None:
    """Fixity names the file, repair brings it back with its hash from the other place, and fixity is content."""
    site.store(images(tmp_path, study="repair"))
    assert site.command("files") == 0
    name, path = next(iter(site.stored_uuids().items()))
    whole = path.read_bytes()
    flip_a_bit(path)
    assert site.command("fixity", "--all") == 5
    assert [(one.uuid, one.fault) for one in broken(site)] == [(name, "hash")]
    assert site.command("repair", name, "--place", "clinic") == 0
    assert path.read_bytes() == whole
    assert len(list((site.orthanc.folder / "broken").rglob(name))) == 1
    assert site.command("fixity", "--all") == 0


def test_consistency_names_missing_files_by_study_and_puts_orphans_aside(
    site: BackupSite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is gone is told with its study, a file that nobody names is moved, not deleted."""
    site.store(images(tmp_path, study="consistency"))
    assert site.command("files") == 0
    name, path = next(iter(site.stored_uuids().items()))
    path.rename(tmp_path / "kept")
    orphan = path.with_name(f"{name[:4]}1111-1111-1111-1111-111111111111")
    orphan.write_bytes(b"nobody's")
    os.utime(orphan, (1, 1))
    assert site.command("consistency", "--quarantine") == 5
    told = capsys.readouterr().err
    assert "missing: 1 of study 2.25." in told
    assert name in told
    assert not orphan.exists()
    assert [one.read_bytes() for one in (site.orthanc.folder / "quarantine").rglob(orphan.name)] == [b"nobody's"]
    assert site.command("restore", "files", "--do", "--place", "disk") == 0
    assert path.read_bytes() == (tmp_path / "kept").read_bytes()
    assert site.command("consistency") == 0


def test_deleted_study_comes_back_from_the_append_only_place(site: BackupSite, tmp_path: Path) -> None:
    """A study that was deleted by mistake is stored again, as it was, by its UID; the plan changes nothing."""
    paths = images(tmp_path, study="deleted")
    instances = site.store(paths)
    study = site.orthanc.archive.get_json(f"/instances/{instances[0]}/study")
    uid = study["MainDicomTags"]["StudyInstanceUID"]
    save_all(site)
    site.orthanc.archive.delete(f"/studies/{study['ID']}")
    for act in ("--plan", "--do"):
        with contextlib.suppress(NotFound):
            site.orthanc.archive.get_json(f"/studies/{study['ID']}")
            pytest.fail("the plan has done something")
        assert site.command("restore", "study", uid, act, "--place", "clinic") == 0
    found = {site.orthanc.archive.get_bytes(f"/instances/{one}/file") for one in instances}
    assert found == {path.read_bytes() for path in paths}


def test_log_goes_on_while_a_base_backup_is_sent(site: BackupSite) -> None:
    """The log waits for no base backup, and of what came while one was sent nothing is left out."""
    assert site.command("database", "full") == 0
    told = site.site().runs.folder / "status" / "database.disk.json"
    whole = json.loads(told.read_text())
    with site.site().runs.lock("database"):
        assert site.command("ship") == 0
    assert whole["whole_as_of"] == whole["began"]
    site.stop_rest_server()
    try:
        assert site.command("database", "incr") == 4
    finally:
        site.start_rest_server()
    failed = json.loads(told.with_name("database.clinic.json").read_text())
    assert (failed["outcome"], failed["whole_as_of"] < failed["began"]) == ("failed", True)


def test_disk_that_was_replaced_gets_the_database_before_the_next_base_backup(site: BackupSite) -> None:
    """Until then it is told as not yet there, and not as late; other places are sent nothing twice; a drill is good."""
    save_all(site)
    statuses = site.folder / "state" / "status"
    base, clinic = json.loads((statuses / "database.json").read_text())["base"], statuses / "database.clinic.json"
    former = clinic.read_text()
    shutil.rmtree(site.disk_folder)
    assert site.command("prepare", "disk") == 0
    tasks = {
        task.kind: task
        for place in Backups(statuses.parent).overview().places
        for task in place.tasks
        if task.place == "disk"
    }
    assert [(tasks[kind].outcome, tasks[kind].is_late) for kind in ("database", "log")] == [("", False), ("", False)]
    for words in (("files",), ("database", "incr", "--only", "send"), ("ship",)):
        assert site.command(*words) == 0
    assert json.loads((statuses / "database.disk.json").read_text())["base"] == base
    assert clinic.read_text() == former
    assert site.command("files") == 0
    assert site.command("ship") == 0
    assert site.command("drill", "--place", "disk") == 0


def test_lock_of_a_run_that_was_killed_stops_nobody(site: BackupSite) -> None:
    """A check that was cut off leaves a lock at the place; the next run goes on."""
    with site.site().place("disk") as place:
        repository = place.repository("locked")
        repository.save(site.folder / "plugins", {"folder": "plugins"}, compressed=False)
        command = [*repository._command(["check", "--read-data", "--limit-download", "1"])]
        (site.folder / "plugins" / "noise").write_bytes(os.urandom(200_000))
        repository.save(site.folder / "plugins", {"folder": "plugins"}, compressed=False)
        locks = site.disk_folder / "locked" / "locks"
        with programs.start(command, environment=repository._environment):
            give_up_at = time.monotonic() + 30
            while not any(locks.iterdir()):
                assert time.monotonic() < give_up_at
                time.sleep(0.01)
        assert any(locks.iterdir())
        repository.save(site.folder / "plugins", {"folder": "plugins"}, compressed=False)


def test_intruder_with_the_credentials_erases_nothing_from_the_append_only_place(site: BackupSite) -> None:
    """Whoever has all secrets of this server can add to the place, and neither delete nor overwrite what is there."""
    assert site.command("files") == 0
    before = {
        path: path.read_bytes() for path in site.rest_folder.rglob("*") if path.is_file() and "locks" not in str(path)
    }
    with site.site().place("clinic") as place, site.site().catalog() as catalog:
        batch, (_, _, snapshot) = next(iter(catalog.sent("clinic").items()))
        repository = place.repository(f"files-{batch[:7]}")
        for words in ((snapshot,), ("--keep-last", "1", "--group-by", "")):
            with pytest.raises(PlaceError):
                repository.forget(*words, prune=True)
    with httpx.Client(base_url=f"http://127.0.0.1:{site.rest_port}", auth=tuple(SERVER_LOGIN.split(":"))) as client:  # type: ignore[arg-type]
        for path in before:
            name = f"/{path.relative_to(site.rest_folder)}"
            name = re.sub(r"/data/../", "/data/", name)
            assert client.delete(name).status_code >= 400
            assert client.post(name, content=b"wiped").status_code >= 400
        assert client.delete(f"/pacs/files-{batch[:7]}/").status_code >= 400
    after = {path: path.read_bytes() for path in before if path.exists()}
    assert after == before


def test_intruder_reads_nothing_back_from_a_write_only_place(site: BackupSite, tmp_path: Path) -> None:
    """Behind the keeper's NGINX backups go on, also without the cache, and no image comes back with all secrets."""
    place = {"name": "clinic", "kind": "rest", "append_only": True, "write_only": True}
    with write_only_front(tmp_path, site.rest_port) as port:
        former = site.settings_file.read_text()
        site.write_settings(places=[place | {"url": f"rest:http://127.0.0.1:{port}/pacs"}])
        for study in ("front-1", "front-2", "front-3"):
            site.store(images(tmp_path, study=study, slices=1))
            assert site.command("files") == 0
            if study == "front-2":
                shutil.rmtree(site.folder / "work" / "cache")
        with pytest.raises(BackupError):
            contents(site, "clinic")
        site.settings_file.write_text(former)
    assert (
        contents(site, "clinic").items()
        >= {name: path.read_bytes() for name, path in site.stored_uuids().items()}.items()
    )


def flip_a_bit(path: Path) -> None:
    """Do what a tired disk does: the size stays, a bit does not."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.chmod(0o600)
    path.write_bytes(bytes(content))


def broken(site: BackupSite) -> list[Broken]:
    """Return what fixity knows to be broken."""
    with site.site().catalog() as catalog:
        return catalog.broken()
