"""De-identification of instances for research, teaching and registers (DICOM PS3.15 annex E); see README.md beside."""

from pacs.deidentify.changes import Change, Done, Report
from pacs.deidentify.errors import DeidentificationError, MissingSecret, ProjectsError, Refused
from pacs.deidentify.files import deidentify_file, file_name
from pacs.deidentify.instance import Result, deidentify
from pacs.deidentify.project import Project
from pacs.deidentify.projects import Projects, secret_of

__all__ = [
    "Change",
    "DeidentificationError",
    "Done",
    "MissingSecret",
    "Project",
    "Projects",
    "ProjectsError",
    "Refused",
    "Report",
    "Result",
    "deidentify",
    "deidentify_file",
    "file_name",
    "secret_of",
]
