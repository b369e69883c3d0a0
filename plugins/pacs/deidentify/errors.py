"""What stands in the way of a de-identification. No message holds a value of the instance."""

from __future__ import annotations

from http import HTTPStatus

from pacs.errors import PacsError
from pacs.settings_files.faults import FileError


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


class ProjectsError(FileError):
    """The file of projects can't be used."""

    code = "deidentification-projects"
    subject = "projects"


class MissingSecret(PacsError):
    """A project's secret is nowhere, or too short to be one."""

    code = "deidentification-secret"
