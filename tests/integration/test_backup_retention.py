"""What retention lets go, and what it must not touch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from fixtures.backup_sites import BackupSite, backup_site, images
from pacs.backup import packs
from pacs.backup.retention import repositories_of


def test_prune_lets_go_of_what_was_deleted_long_ago_and_of_nothing_else(tmp_path: Path) -> None:
    """Images deleted before the window leave the disk; newer deletions and the append-only place stay whole."""
    with backup_site(tmp_path) as site:
        kept, _ = (site.store(images(tmp_path, study=name, slices=2)) for name in ("kept", "old"))
        site.store(images(tmp_path, study="lately", slices=2))
        before = names_at(site, "disk", save=True)
        old, lately = (delete(site, f"BACKUP-{name}") for name in ("old", "lately"))
        assert kept
        for words in (("database", "full"), ("nightly",), ("ship",)):
            assert site.command(*words) == 0
        age(site, old)
        assert site.command("prune") == 0
        assert names_at(site, "disk") == before - old
        assert names_at(site, "clinic") == before
        assert lately <= before - old
        assert site.command("check", "--read", "100%") == 0
        assert site.command("drill", "--place", "disk") == 0


def delete(site: BackupSite, patient_id: str) -> set[str]:
    """Delete a patient and return the names of the files."""
    former = set(site.stored_uuids())
    for patient in site.orthanc.archive.get_json("/patients"):
        if site.orthanc.archive.get_json(f"/patients/{patient}")["MainDicomTags"]["PatientID"] == patient_id:
            site.orthanc.archive.delete(f"/patients/{patient}")
    return former - set(site.stored_uuids())


def age(site: BackupSite, uuids: set[str]) -> None:
    """Have the batch be of a former day, and some deletions as old as the window."""
    with site.site().catalog() as catalog:
        ago = (datetime.now(UTC) - timedelta(days=36)).isoformat()
        keys = [bytes.fromhex(uuid.replace("-", "")) for uuid in uuids]
        catalog._database.executemany("UPDATE files SET gone_at = ? WHERE uuid = ?", [(ago, key) for key in keys])
        for batch in catalog.batches():
            catalog.close_batch(batch.name)
    assert site.command("files") == 0


def names_at(site: BackupSite, place: str, *, save: bool = False) -> set[str]:
    """Return the names of all files that a place has in any of its snapshots."""
    if save:
        assert site.command("files") == 0
    here = site.site()
    with here.place(place) as opened:
        repositories = [opened.repository(name) for name in repositories_of(here, opened) if name.startswith("files-")]
        return {
            member.uuid
            for repository in repositories
            for snapshot in repository.snapshots()
            for member in packs.members(repository, snapshot.snapshot_id)
        }
