"""Backups from the command line: `python -m pacs.backup COMMAND`; timers run the same.

Exit status: 0 done; 1 a fault; 2 a mistake in backup.yml or a missing credential; 3 another run is at work; 4 a place
can't be reached, refuses or is damaged; 5 something of the archive is missing or broken. One sentence says what.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pacs.backup import command_line, programs
from pacs.backup.runs import exit_status_of
from pacs.backup.settings import load
from pacs.backup.site import Site
from pacs.errors import PacsError

SETTINGS = Path("/etc/pacs/backup/backup.yml")
CREDENTIALS = Path("/etc/pacs/credentials")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    work: Callable[[Site, argparse.Namespace], str] = options.work
    try:
        site = Site.of(load(options.settings), options.credentials)
        if not options.hurry:
            programs.be_modest()
        sys.stdout.write(f"{work(site, options)}\n")
    except (PacsError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_status_of(error) if isinstance(error, PacsError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    parser = argparse.ArgumentParser(
        prog="pacs.backup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", type=Path, default=SETTINGS)
    parser.add_argument("--credentials", type=Path, default=Path(credentials) if credentials else CREDENTIALS)
    parser.add_argument("--hurry", action="store_true", help="do not let everybody else go first")
    command_line.add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
