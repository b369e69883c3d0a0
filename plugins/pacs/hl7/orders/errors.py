"""What is wrong with the files of mappings."""

from __future__ import annotations

from pacs.hl7.errors import Hl7Error
from pacs.settings_files.faults import FileError


class MappingError(FileError):
    """A mapping file can't be used."""

    code = "hl7-mapping"
    subject = "mapping"


class NoMapping(Hl7Error):
    """A sender's mapping is missing, or was never without a mistake: nobody knows what its messages mean."""

    code = "hl7-no-mapping"
