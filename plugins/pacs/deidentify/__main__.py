"""De-identify files: `python -m pacs.deidentify IN OUT --project NAME`.

IN is a file or a folder, looked through whole; OUT a folder. What was done is told as JSON, without any value.
Exit status: 0 all went through; 1 some were refused, and are told by their number in the order of their paths; 2 a
mistake in the settings, a missing secret, or a file that could not be read or written: it ended there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pacs.deidentify.changes import Report
from pacs.deidentify.errors import MissingSecret, ProjectsError, Refused
from pacs.deidentify.files import be_silent, deidentify_file
from pacs.deidentify.project import Project
from pacs.deidentify.projects import Projects, secret_of

PROJECTS = Path("/var/lib/pacs/routing/deidentify.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """De-identify what the command line names and return the exit status."""
    options = _parser().parse_args(arguments)
    be_silent()
    try:
        project = Projects.load(options.projects).get(options.project)
        secret = secret_of(project, options.credentials)
    except (ProjectsError, MissingSecret) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    try:
        report = _deidentified(options.source, options.target, project, secret)
    except OSError as error:
        # Its own words name the file, and a file's name may say whose it is.
        sys.stderr.write(f"error: a file can't be read or written: {error.strerror}\n")
        return 2
    told = json.dumps(report.as_json(), indent=1)
    if options.report:
        options.report.write_text(f"{told}\n", encoding="utf-8")
    else:
        sys.stdout.write(f"{told}\n")
    return 1 if report.refused else 0


def _deidentified(source: Path, target: Path, project: Project, secret: bytes) -> Report:
    report = Report()
    for number, path in enumerate(_files(source), start=1):
        try:
            _, result = deidentify_file(path, target, project, secret)
            report.add(result.changes)
        except Refused as refusal:
            report.refuse(str(refusal))
            # A path may say whose it is, as much as a value.
            sys.stderr.write(f"file {number} is refused: {refusal}\n")
    return report


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for folder, folders, names in source.walk():
        folders.sort()
        yield from (folder / name for name in sorted(names))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pacs.deidentify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="IN")
    parser.add_argument("target", type=Path, metavar="OUT")
    parser.add_argument("--project", required=True)
    parser.add_argument("--projects", type=Path, default=PROJECTS, help="deidentify.yaml")
    parser.add_argument("--credentials", type=Path, help="folder of credentials; $CREDENTIALS_DIRECTORY otherwise")
    parser.add_argument("--report", type=Path, help="write what was done here; to standard output otherwise")
    return parser


if __name__ == "__main__":
    sys.exit(main())
