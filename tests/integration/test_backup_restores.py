"""What is lost comes back: the database to a moment, a whole machine, a year for the shelf."""

from __future__ import annotations

import csv
import hashlib
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from fixtures.backup_sites import PASSWORD, BackupSite, backup_site, images, write_only_front
from pacs.backup import escrow, signing


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackupSite]:
    """Give one archive with its backups to the module."""
    with backup_site(tmp_path_factory.mktemp("backup")) as made:
        escrow.new_key(made.folder / "offline.key", made.folder / "offline.crt")
        yield made


@pytest.fixture(scope="module")
def saved(site: BackupSite, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Store a study, save all of it, and return its images."""
    paths = images(tmp_path_factory.mktemp("images"), study="kept", slices=4)
    site.store(paths)
    for words in (("database", "full"), ("nightly",), ("ship",)):
        assert site.command(*words) == 0
    return paths


def test_year_is_on_media_that_anybody_can_read(site: BackupSite, saved: list[Path], tmp_path: Path) -> None:
    """Files byte for byte, a DICOMDIR that names each, tables, checksums that sha256sum accepts, a signature."""
    assert site.command("export", "2026", tmp_path / "2026", "--volume-bytes", "100000000") == 0
    volume = tmp_path / "2026" / "VOL001"
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=volume, check=False)
    assert checked.returncode == 0
    assert signing.is_right(volume / "SHA256SUMS", volume / "signing.pub")
    written = {path.read_bytes() for path in (volume / "DICOM").rglob("*") if path.is_file()}
    assert written == {path.read_bytes() for path in saved}
    records = dcmread(volume / "DICOMDIR").DirectoryRecordSequence
    named = [Path(*one.ReferencedFileID) for one in records if "ReferencedFileID" in one]
    assert len(named) == len(saved)
    assert all((volume / path).is_file() for path in named)
    with (volume / "studies.csv").open() as file:
        assert [row["PatientID"] for row in csv.DictReader(file)] == ["BACKUP-kept"]


def test_year_as_an_image_for_a_disc_holds_the_same(site: BackupSite, saved: list[Path], tmp_path: Path) -> None:
    """The ISO image holds every file with its hash."""
    assert site.command("export", "2026", tmp_path / "2026.iso") == 0
    image = tmp_path / "2026-VOL001.iso"
    (tmp_path / "out").mkdir()
    command = ["xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", tmp_path / "out"]
    subprocess.run(command, check=True, capture_output=True)
    found = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (tmp_path / "out" / "DICOM").rglob("I*")
        if path.is_file()
    }
    assert found == {hashlib.sha256(path.read_bytes()).hexdigest() for path in saved}


def test_escrow_gives_back_settings_and_secrets_to_the_offline_key_alone(
    site: BackupSite, saved: list[Path], tmp_path: Path
) -> None:
    """A place and the offline key are enough; another key opens nothing, and no secret lies there in the clear."""
    assert saved
    (tmp_path / "in").mkdir()
    words = ["restore", "configuration", "--do", "--place", "clinic", "--into", tmp_path / "in", "--key"]
    escrow.new_key(tmp_path / "other.key", tmp_path / "other.crt")
    assert site.command(*words, tmp_path / "other.key") == 1
    assert not list((tmp_path / "in").iterdir())
    assert site.command(*words, site.folder / "offline.key") == 0
    found = tmp_path / "in" / str(site.credentials).lstrip("/") / "BACKUP_CLINIC_PASSWORD"
    assert found.read_text() == PASSWORD
    lying = [path for path in site.rest_folder.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert not lying


def test_rules_that_are_missing_come_back_and_newer_ones_stay(site: BackupSite, saved: list[Path]) -> None:
    """Folders beside images and database: what is missing is put back as it was, what is there is left alone."""
    assert saved
    routing = site.folder / "plugins" / "routing"
    (routing / "history").mkdir(parents=True)
    for name in ("rules.yaml", "history/1.yaml"):
        (routing / name).write_text(f"# {name}")
        (routing / name).chmod(0o600)
    assert site.command("nightly") == 0
    (routing / "rules.yaml").write_text("# newer")
    (routing / "history/1.yaml").unlink()

    assert site.command("restore", "folders", "--plan", "--place", "clinic") == 0
    assert not (routing / "history/1.yaml").exists()
    assert site.command("restore", "folders", "--do", "--place", "clinic") == 0

    assert (routing / "history/1.yaml").read_text() == "# history/1.yaml"
    assert (routing / "history/1.yaml").stat().st_mode & 0o777 == 0o600
    assert (routing / "rules.yaml").read_text() == "# newer"
    shutil.rmtree(site.folder / "plugins")
    assert site.command("restore", "folders", "--do", "--place", "clinic") == 0
    assert (routing / "rules.yaml").read_text() == "# rules.yaml"


def test_drill_that_is_killed_leaves_nothing(site: BackupSite, saved: list[Path]) -> None:
    """No process of a killed drill lives on, and its scratch is gone after `clean`, which its unit always runs."""
    assert saved
    scratch = site.folder / "work" / "scratch"
    running = subprocess.Popen(
        site.words("drill", "--place", "disk"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    give_up_at = time.monotonic() + 120
    while not any(scratch.glob("*/*/cluster/postmaster.pid")):
        assert running.poll() is None
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    give_up_at = time.monotonic() + 20
    while left := [one for one in Path("/proc").glob("[0-9]*/cmdline") if str(scratch) in text_of(one)]:
        assert time.monotonic() < give_up_at, left
        time.sleep(0.05)
    assert site.command("clean") == 0
    assert not list(scratch.iterdir())


def test_database_goes_back_to_a_moment_and_no_image_is_lost(
    site: BackupSite, saved: list[Path], tmp_path: Path
) -> None:
    """After a restore to before a deletion: what was deleted is back, and what came later is stored again."""
    later = images(tmp_path, study="later", slices=3)
    before = datetime.now(UTC)
    time.sleep(1.1)
    for patient in site.orthanc.archive.get_json("/patients"):
        site.orthanc.archive.delete(f"/patients/{patient}")
    site.store(later)
    assert site.command("files") == 0
    assert site.command("restore", "database", "--plan", "--to", before.isoformat()) == 0
    assert len(site.orthanc.archive.get_json("/instances")) == len(later)
    restored(site, "--to", before.isoformat())
    assert bytes_in(site) >= {path.read_bytes() for path in saved}
    assert site.command("restore", "orphans", "--do") == 0
    assert bytes_in(site) == {path.read_bytes() for path in [*saved, *later]}
    assert site.command("consistency") == 0


def test_image_that_no_backup_has_is_stored_when_it_is_sent_again(
    site: BackupSite, saved: list[Path], tmp_path: Path
) -> None:
    """What came after the last run and was lost with the disk is listed; Orthanc alone would say that it has it."""
    assert saved
    late = images(tmp_path, study="late", slices=3)
    for path in new_files(site, late).values():
        path.unlink()
    assert site.command("restore", "lost", "--plan", "--place", "clinic") == 0
    assert site.command("consistency") == 5
    assert site.command("restore", "lost", "--do", "--place", "clinic") == 0
    site.store(late)
    assert bytes_in(site) >= {path.read_bytes() for path in late}
    assert site.command("consistency") == 0
    folder = site.folder / "state" / "lost"
    assert folder.stat().st_mode & 0o077 == 0
    (table,) = folder.glob("*.csv")
    with table.open() as file:
        assert [(row["PatientID"], row["LostImages"]) for row in csv.DictReader(file)] == [("BACKUP-late", "3")]


def test_image_that_the_first_place_lacks_comes_from_another(
    site: BackupSite, saved: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every place is asked: it is told what came from where and what none has, and nothing is forgotten unasked."""
    assert saved
    apart = new_files(site, images(tmp_path, study="apart", slices=2))
    assert site.command("files") == 0
    never = new_files(site, images(tmp_path, study="never", slices=1))
    for repository in site.disk_folder.glob("files-*"):
        shutil.rmtree(repository)
    whole = {name: path.read_bytes() for name, path in apart.items()}
    half, *gone = apart.values()
    half.write_bytes(half.read_bytes()[:100])
    for path in (*gone, *never.values()):
        path.unlink()
    site.stop_rest_server()
    assert site.command("restore", "lost", "--do", "--place", "disk") == 4
    assert "nobody answers" in capsys.readouterr().err
    assert site.command("restore", "files", "--do", "--place", "disk") == 0
    site.start_rest_server()
    assert site.command("restore", "lost", "--plan", "--place", "disk") == 0
    assert f"{len(gone)} at clinic" in capsys.readouterr().out
    assert site.command("restore", "files", "--do", "--place", "disk") == 0
    assert f"{len(apart)} from clinic" in capsys.readouterr().out
    assert {name: path.read_bytes() for name, path in apart.items()} == whole
    newest = max((site.folder / "state" / "restored").glob("*.csv"))
    with newest.open() as file:
        listed = {row["File"]: row["Place"] for row in csv.DictReader(file)}
    assert listed == dict.fromkeys(apart, "clinic") | dict.fromkeys(never, "")
    assert site.command("restore", "lost", "--do", "--place", "disk") == 0
    assert site.command("consistency") == 0


def test_place_that_gives_nothing_back_is_asked_by_the_way_that_its_keeper_opened(
    site: BackupSite, saved: list[Path], tmp_path: Path
) -> None:
    """The same place at another port was read: what it lacks is lost; alone, it could not be asked."""
    assert saved
    assert site.command("nightly") == 0
    clinic = {"name": "clinic", "kind": "rest", "append_only": True, "write_only": True}
    opened = {"name": "restore", "kind": "rest", "url": f"rest:http://127.0.0.1:{site.rest_port}/pacs"}
    for name in ("PASSWORD", "LOGIN"):
        shutil.copy(site.credentials / f"BACKUP_CLINIC_{name}", site.credentials / f"BACKUP_RESTORE_{name}")
    for path in new_files(site, images(tmp_path, study="front", slices=1)).values():
        path.unlink()
    former = site.settings_file.read_text()
    with write_only_front(tmp_path, site.rest_port) as port:
        closed = clinic | {"url": f"rest:http://127.0.0.1:{port}/pacs"}
        for places, status in (([closed], 4), ([opened, closed], 0)):
            site.write_settings(places=places)
            assert site.command("restore", "lost", "--do") == status
    site.more.pop("places")
    site.settings_file.write_text(former)
    assert site.command("consistency") == 0


def new_files(site: BackupSite, paths: list[Path]) -> dict[str, Path]:
    """Store images and return the files that Orthanc made of them."""
    known = set(site.stored_uuids())
    site.store(paths)
    return {name: path for name, path in site.stored_uuids().items() if name not in known}


def test_new_machine_is_made_of_a_place_alone(site: BackupSite, saved: list[Path]) -> None:
    """Database, log and every file gone: all of it comes back from the append-only place."""
    before = bytes_in(site)
    assert before >= {path.read_bytes() for path in saved}
    for words in (("database", "incr"), ("files",), ("ship",)):
        assert site.command(*words) == 0
    site.orthanc.stop()
    site.cluster.stop(signal.SIGQUIT)
    for gone in (site.orthanc.storage, site.cluster._folder / "data", site.folder / "pgbackrest", site.disk_folder):
        shutil.rmtree(gone)
    (site.folder / "state" / "catalog.db").unlink()
    site.orthanc.storage.mkdir()
    restored(site, "--place", "clinic", running=False)
    assert bytes_in(site) == before
    assert site.command("consistency") == 0


def restored(site: BackupSite, *options: str, running: bool = True) -> None:
    """Restore the database, then the files that it names, as RESTORE.md says; somebody else starts the services."""
    if running:
        site.orthanc.stop()
        assert site.command("restore", "database", "--do", *options) == 1
        site.cluster.stop()
    assert site.command("restore", "database", "--do", *options) == 0
    site.cluster.start()
    assert site.command("restore", "files", "--do", "--place", "clinic") == 0
    site.orthanc.start()


def bytes_in(site: BackupSite) -> set[bytes]:
    """Return every image that Orthanc gives."""
    archive = site.orthanc.archive
    return {archive.get_bytes(f"/instances/{one}/file") for one in archive.get_json("/instances")}


def text_of(path: Path) -> str:
    """Return a process's command line, "" when it is gone."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
