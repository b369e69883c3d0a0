"""What a restore of the database moves aside, noted on the disk before: a restore that was cut is taken back.

Between two renames there is no cluster or no repository. Whoever restores again begins with what was there before; what
has its place by then is left alone, since somebody may have started it and worked with it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from pacs.backup import packs
from pacs.backup.runs import read_status

_STAMP = "%Y%m%dT%H%M%S"


class Aside:
    """The notes of one restore.

    Parameters
    ----------
    note : the file; where it is, a restore did not come to its end.
    """

    def __init__(self, note: Path) -> None:
        self._note = note

    @property
    def moved(self) -> dict[Path, Path | None]:
        """Where what was moved stands now, if the restore was cut; None: there was nothing to move."""
        noted = {Path(path): name for path, name in read_status(self._note).items()}
        return {path: path.with_name(name) if name else None for path, name in noted.items()}

    def move(self, path: Path) -> None:
        """Move a folder aside, if there is one."""
        name = f"{path.name}.{datetime.now(UTC).strftime(_STAMP)}" if path.exists() else ""
        noted = read_status(self._note) | {str(path): name}
        packs.write_durably(self._note, json.dumps(noted))
        if name:
            path.rename(path.with_name(name))

    def take_back(self) -> None:
        """Put back what a restore that was cut had moved, where nothing has taken its place."""
        for path, former in self.moved.items():
            if former is not None and not former.exists():
                continue  # it was cut before that, or a person has put it back
            if former is not None and not path.exists():
                former.rename(path)
        self.end()

    def end(self) -> None:
        """Note that all is in its place."""
        self._note.unlink(missing_ok=True)
