"""What stands in the way of a de-identification. No message holds a value of the instance."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from pacs.errors import PacsError


class DeidentificationError(PacsError):
    """An instance was not de-identified, and nothing of it may go out."""

    code = "deidentification"
    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Refused(DeidentificationError):
    """The project can't de-identify this instance: the remedy says what a person can change."""

    code = "deidentification-refused"


def broken(fault: Exception) -> Refused:
    """Return what is told of an instance that can't be read or written; the words of `fault` may repeat values."""
    return Refused(
        f"The instance can't be read or written ({type(fault).__name__}): it breaks the rules of DICOM.",
        remedy="Leave it out, or repair the original.",
    )


class ProjectsError(PacsError):
    """The file of projects can't be used. Carries every fault of it, each with its line and its cure."""

    code = "deidentification-projects"
    status = HTTPStatus.BAD_REQUEST

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(f"{len(faults)} mistake(s) in the projects:\n" + "\n".join(f"  - {fault}" for fault in faults))
        self.faults = list(faults)


class MissingSecret(PacsError):
    """A project's secret is nowhere, or too short to be one."""

    code = "deidentification-secret"
