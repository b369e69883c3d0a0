"""Reaches every place and leaves there what is needed to begin anew: the proof that backups can go out.

A place that has an archive's backups already is refused by a server that made none of them: what is there may be
the only copy of a lost one. Whose backups are ours stands in the state's file "begun" (ansible: backup_adopt).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pacs.backup import escrow, saving
from pacs.backup.places import ESCROW, Place
from pacs.backup.settings import BackupSettings, load
from pacs.backup.site import Site
from pacs.errors import PacsError

SETTINGS = Path("/etc/pacs/backup/backup.yml")
FOREIGN = """\
{name} has backups of an archive already, and this server made none of them. Nothing was sent.
- A new machine for a server that was lost: do not go on here, run ansible/restore.yml (backup/RESTORE.md).
- It is the same archive and these are its backups: ansible-playbook ansible/site.yml -e backup_adopt=true, once.
- Another archive: give this one a folder or an account of its own at that place."""


def main() -> int:
    """Return 0 when every place has it; tell of each that has not."""
    site = Site.of(load(SETTINGS), Path(os.environ["CREDENTIALS_DIRECTORY"]))
    # From now on what was never done is late some day, and monitoring says so.
    saving.introduce(site)
    begun = site.settings.state / "begun"
    faults = []
    with site.places() as places:
        for place in places:
            try:
                begin(site.settings, place, begun)
                saving.begin_anew_where_empty(site, place)
            except PacsError as fault:
                faults.append(str(fault))
            else:
                print(f"{place.name} has what is needed to begin anew.")
    print(*faults, sep="\n", file=sys.stderr)
    return 1 if faults else 0


def begin(settings: BackupSettings, place: Place, begun: Path) -> None:
    """Leave the escrow at a place. Raise PacsError: not reachable, another's, refused."""
    place.require_reachable()
    names = begun.read_text().split() if begun.exists() else []
    if place.name not in names:
        if place.repository(ESCROW).exists():
            raise PacsError(FOREIGN.format(name=place.name))
        # Before it is sent: a run that is cut here must not find its own escrow to be another's.
        begun.write_text(" ".join([*names, place.name]) + "\n")
    escrow.send(settings, place)


if __name__ == "__main__":
    sys.exit(main())
