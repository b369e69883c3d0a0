"""`restore folders`: what stands beside images and database, put back where it is missing.

Rules of routing with their history, targets, profiles of de-identification, monthly reports: `system_paths`.
What is there already stays as it is, even where it differs: somebody may have written it since.
"""

from __future__ import annotations

from pathlib import Path

from pacs.backup import programs
from pacs.backup.places import SYSTEM, Place
from pacs.backup.plans import Plan
from pacs.backup.restic import Snapshot
from pacs.backup.site import Site

_PUT_BACK = ("tar", "--extract", "--skip-old-files")


class FoldersRestore:
    """Folders as a place has them, of the night before.

    The backups' own state is none of them: roles/backup joins it with that of the new server.
    """

    def __init__(self, site: Site, place: Place) -> None:
        self._site = site
        self._place = place
        self._wanted = [path for path in site.settings.system_paths if path != site.settings.state]
        found = {folder: place.newest_copy(folder) for folder in self._wanted}
        self._copies: dict[Path, Snapshot] = {folder: copy for folder, copy in found.items() if copy}

    def plan(self) -> Plan:
        """Tell what will be done."""
        steps = [
            f"put back what {folder} lacks, as {self._place.name} had it on {copy.at:%Y-%m-%d %H:%M} UTC"
            for folder, copy in self._copies.items()
        ]
        losses = [f"{folder}: {self._place.name} has no copy" for folder in self._wanted if folder not in self._copies]
        return Plan("Rules, targets and reports", steps, losses, ["what is there already, even where it differs"])

    def do(self) -> str:
        """Put it back as the archive's user: root follows no link that lies there. Raise PlaceError, ProgramError."""
        for folder, copy in self._copies.items():
            programs.run(self._as_archive("mkdir", "--parents", "--mode=700", folder))
            self._put_back(folder, copy)
        names = ", ".join(str(folder) for folder in self._copies)
        self._site.runs.audit("folders restored", place=self._place.name, folders=names)
        return f"What was missing is back in {names}." if names else "No folder had a copy there."

    def _put_back(self, folder: Path, copy: Snapshot) -> None:
        command = self._as_archive(*_PUT_BACK, "--directory", folder)
        with (
            self._place.repository(SYSTEM).content(copy.snapshot_id) as tar,
            programs.start(command, stdin=tar) as child,
        ):
            if child.stderr is None:
                raise AssertionError
            said = child.stderr.read()
            programs.require_success(command, child.wait(), said)

    def _as_archive(self, *command: str | Path) -> programs.Command:
        return programs.as_owner(self._site.settings.storage, command)
