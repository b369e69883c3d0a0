"""Damage planted in the archive and in its backups: fixity or the drill names each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from fixtures.backup_sites import BackupSite, backup_site, images
from pacs.backup.drill import Drill, DrillResult
from pacs.backup.orthanc_index import Attachment
from pacs.backup.settings import load

PLACE = {"name": "disk", "kind": "local"}
STUDIES = 3


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackupSite]:
    """Give one archive with three studies and a whole backup of it on a disk."""
    folder = tmp_path_factory.mktemp("backup")
    with backup_site(folder) as made:
        made.write_settings(places=[PLACE | {"url": str(made.disk_folder)}], drill_studies=2)
        for number in range(STUDIES):
            made.store(images(folder, study=f"damage-{number}", slices=4))
        for words in (("database", "full"), ("nightly",), ("ship",)):
            assert made.command(*words) == 0
        yield made


# -- the archive -----------------------------------------------------------------------------------------------------


def flip(place: int) -> Callable[[Path], None]:
    """Return what changes one bit at a place of a file."""

    def act(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(bytes(content))

    return act


def become_a_folder(path: Path) -> None:
    """Put a folder where the file was, as a repaired file system may."""
    path.unlink()
    path.mkdir()


def swap_with_a_neighbour(path: Path) -> None:
    """Exchange two files of one size, as a repaired file system may."""
    other = next(
        one for one in path.parents[2].glob("??/??/*") if one != path and one.stat().st_size == path.stat().st_size
    )
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


ARCHIVE_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "first bit": (flip(0), "hash"),
    "bit in the middle": (flip(4000), "hash"),
    "last bit": (flip(-1), "hash"),
    "zeros": (lambda path: path.write_bytes(bytes(path.stat().st_size)), "hash"),
    "swapped": (swap_with_a_neighbour, "hash"),
    "truncated by a byte": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "size"),
    "empty": (lambda path: path.write_bytes(b""), "size"),
    "grown": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), "size"),
    "missing": (Path.unlink, "missing"),
    "folder is gone": (lambda path: shutil.rmtree(path.parent), "missing"),
    "not to be read": (lambda path: path.chmod(0), "unreadable"),
    "a folder in its place": (become_a_folder, "unreadable"),
}


@pytest.fixture
def damaged(site: BackupSite, tmp_path: Path) -> Iterator[Attachment]:
    """Give an attachment to be damaged; the storage area is as it was afterwards."""
    shutil.copytree(site.orthanc.storage, tmp_path / "whole", symlinks=True)
    with site.site().index() as index:
        yield list(index.paged())[5]
    shutil.rmtree(site.orthanc.storage)
    shutil.copytree(tmp_path / "whole", site.orthanc.storage)
    with site.site().catalog() as catalog:
        for one in catalog.broken():
            catalog.forget_broken(one.uuid)


@pytest.mark.parametrize("name", ARCHIVE_DAMAGES)
def test_fixity_names_the_damaged_file_and_its_study(site: BackupSite, damaged: Attachment, name: str) -> None:
    """Every kind of damage to a file of the archive is told, with the file, what is wrong, and the study."""
    plant, fault = ARCHIVE_DAMAGES[name]
    plant(site.site().storage.path(damaged.uuid))
    assert site.command("fixity", "--all") == 5
    with site.site().catalog() as catalog, site.site().index() as index, index.reading() as reading:
        found = {one.uuid: one for one in catalog.broken()}
        study = reading.studies_of([damaged.resource])[damaged.resource]
    assert found[damaged.uuid].fault == fault
    assert found[damaged.uuid].study == study.study_instance_uid
    assert len(found) == (2 if name == "swapped" else 1)


# -- the backup ------------------------------------------------------------------------------------------------------


def drill(site: BackupSite, place: Path) -> DrillResult:
    """Drill on a copy of the place."""
    site.write_settings(places=[PLACE | {"url": str(place)}])
    with site.site().place("disk") as opened:
        return Drill(load(site.settings_file), opened).run()


@pytest.fixture
def copy(site: BackupSite, tmp_path: Path) -> Iterator[Path]:
    """Give a copy of the place to be damaged; afterwards the place itself is the place again."""
    shutil.copytree(site.disk_folder, tmp_path / "disk")
    shutil.rmtree(site.folder / "work" / "cache", ignore_errors=True)
    yield tmp_path / "disk"
    site.write_settings(places=[PLACE | {"url": str(site.disk_folder)}])


def largest(repository: Path, folder: str) -> Path:
    """Return the largest file of a part of a repository."""
    return max((one for one in (repository / folder).rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)


def damage(path: Path) -> None:
    """Flip bits all over the middle of a file."""
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 3, len(content) // 3 * 2, 97):
        content[place] ^= 16
    path.chmod(0o600)
    path.write_bytes(bytes(content))


BACKUP_DAMAGES: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "bits of the images' data": ("files-*", "data", damage),
    "images' data are gone": ("files-*", "data", Path.unlink),
    "images' index is gone": ("files-*", "index", lambda path: shutil.rmtree(path.parent)),
    "images' snapshots are gone": ("files-*", "snapshots", lambda path: shutil.rmtree(path.parent)),
    "bits of the database's data": ("database-*", "data", damage),
    "key of the repository is gone": ("database-*", "keys", Path.unlink),
}


@pytest.mark.parametrize("name", BACKUP_DAMAGES)
def test_drill_finds_damage_at_a_place(site: BackupSite, copy: Path, name: str) -> None:
    """Whatever is damaged at the place, the drill does not call it good, and says where."""
    repository, folder, plant = BACKUP_DAMAGES[name]
    plant(largest(next(copy.glob(repository)), folder))
    result = drill(site, copy)
    assert not result.is_good
    assert result.faults or result.missing_count == STUDIES * 4
    assert not list((site.folder / "work" / "scratch").iterdir())


def test_drill_tells_a_wrong_key(site: BackupSite, copy: Path) -> None:
    """A key that was mixed up is told as such, not as a broken disk."""
    password = site.credentials / "BACKUP_DISK_PASSWORD"
    right = password.read_text()
    password.write_text("another key")
    try:
        result = drill(site, copy)
    finally:
        password.write_text(right)
    assert "wrong key" in " ".join(result.faults)


def test_drill_names_files_that_are_not_in_the_backup_or_are_not_what_they_were(
    site: BackupSite, tmp_path: Path
) -> None:
    """A file that was never packed, and one that was broken before it was packed, each by name and study."""
    site.store(images(tmp_path, study="planted", slices=4))
    with site.site().index() as index:
        forgotten, spoiled, *_ = list(index.paged())[-4:]
    with site.site().catalog() as catalog:
        catalog.add_files([forgotten.uuid], "2026-01-01.01/nowhere")
    flip(300)(site.site().storage.path(spoiled.uuid))
    for words in (("nightly",), ("ship",)):
        assert site.command(*words) == 0
    result = drill(site, site.disk_folder)
    assert [one["uuid"] for one in result.missing] == [forgotten.uuid]
    assert [one["uuid"] for one in result.wrong] == [spoiled.uuid]
    assert result.missing[0]["study"].startswith("2.25.")
    assert not result.is_good
    assert UUID(forgotten.uuid)


def test_drill_names_a_lost_table(site: BackupSite) -> None:
    """A table that somebody dropped is gone in the backup too; the drill says which, not the radiologist in spring."""
    with site.cluster.connect(site.database) as connection:
        connection.execute("DROP TABLE maindicomtags CASCADE")
    for words in (("nightly",), ("ship",)):
        assert site.command(*words) == 0
    result = drill(site, site.disk_folder)
    assert "maindicomtags" in " ".join(result.faults)
