"""What can go wrong with a backup, each with the exit status that a timer or a person sees."""

from __future__ import annotations

from pacs.errors import PacsError


class BackupError(PacsError):
    """A backup, a check or a restore did not do what it should.

    Attributes
    ----------
    exit_status : of `python -m pacs.backup`.
    """

    code = "backup"
    exit_status = 1


class BackupSettingsError(BackupError):
    """backup.yml, or a credential that it needs, can't be used."""

    code = "backup-settings"
    exit_status = 2


class Busy(BackupError):
    """Another run holds the lock; nothing is wrong, the next one does the work."""

    code = "backup-busy"
    exit_status = 3


class PlaceError(BackupError):
    """A place can't be reached, refuses, or is damaged."""

    code = "backup-place"
    exit_status = 4


class Damage(BackupError):
    """A check found something missing or broken. Told in the report; nothing was changed."""

    code = "backup-damage"
    exit_status = 5


class ProgramError(BackupError):
    """A program that does the work ended with a fault.

    Attributes
    ----------
    ended_with : its exit status, negative for a signal.
    words : what it said last.
    """

    code = "backup-program"

    def __init__(self, program: str, status: int, words: str) -> None:
        said = f": {words}" if words else "."
        super().__init__(f"{program} ended with status {status}{said}")
        self.ended_with = status
        self.words = words
