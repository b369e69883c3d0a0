"""Whether a message is what the standard says, by hl7apy's strict validation."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from hl7apy.core import Message
from hl7apy.exceptions import ValidationError

# The detail of an order is one segment of a choice; hl7apy (1.3.5) asks for all of them.
_OTHER_CHOICES = re.compile(r"Missing required child \w+\.(RQD|RQ1|RXO|ODS|ODT)")


def faults(message: Message) -> list[str]:
    """Return what hl7apy finds wrong with the structure, lengths left aside; empty when nothing."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        try:
            message.validate(report_file=str(report))
        except ValidationError:
            lines = report.read_text(encoding="utf-8").splitlines()
            errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
            return [error for error in errors if not _OTHER_CHOICES.fullmatch(error)]
    return []
