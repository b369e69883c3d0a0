"""What can be wrong with rules, told with the line and the cure, all faults together."""

from __future__ import annotations

from pacs.settings_files.faults import FileError


class RulesError(FileError):
    """A file of rules can't be used."""

    code = "routing-rules"
    subject = "rules"
