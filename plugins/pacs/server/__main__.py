"""The archive as systemd's service: `python -m pacs.server run`, and `python -m pacs.server check` before a restart.

Both put Orthanc's configuration together from our fragments, PostgreSQL's and the site's settings; passwords come from
the service's credentials. `run` then becomes Orthanc; `check` says what is wrong, with its place and its cure.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pacs import configuration
from pacs.errors import PacsError
from pacs.settings import parse_settings

RELEASE = Path(__file__).resolve().parents[3]
SETTINGS = Path("/etc/pacs/orthanc/settings.json")
PROGRAM = "/usr/sbin/Orthanc"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or run; return the exit status, 1 for a mistake in the settings."""
    options = _parser().parse_args(arguments)
    try:
        environment = _environment(options.environment, options.credentials)
        merged = assemble(RELEASE / "orthanc" / "config", options.settings, environment)
        if options.command == "run":
            _become_orthanc(merged)
    except (PacsError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{options.settings}: nothing wrong\n")
    return 0


def assemble(fragments: Path, settings: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole configuration for PostgreSQL, with our section of it checked.

    Raises
    ------
    ConfigurationError : a file is no JSON, or a variable of it is missing.
    SettingsError : every mistake in the section "Pacs".
    """
    merged = configuration.load_all(fragments, None, environment)
    merged = configuration.merge(merged, configuration.load_all(fragments / "postgresql", settings, environment))
    parse_settings(merged.get("Pacs", {}))
    return merged


def _environment(files: Sequence[Path], credentials: Path | None) -> dict[str, str]:
    """Return the variables of this process, of `files` and of the credentials, which are files named as variables."""
    environment = dict(os.environ)
    for path in files:
        environment |= configuration.read_environment(path)
    if credentials is not None:
        environment |= {path.name: path.read_text(encoding="utf-8").strip() for path in credentials.iterdir()}
    return environment


def _become_orthanc(merged: dict[str, Any]) -> None:
    """Write the configuration where this service alone can read it, in memory, and let Orthanc take our place."""
    path = Path(os.environ["RUNTIME_DIRECTORY"]) / "orthanc.json"
    configuration.write(merged, path)
    # Who asked for an association stands in the log by this option alone; whoever is refused too often is banned by it.
    os.execv(PROGRAM, [PROGRAM, "--verbose-dicom", str(path)])  # noqa: S606 - no shell, and a program of Debian's


def _parser() -> argparse.ArgumentParser:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    parser = argparse.ArgumentParser(prog="pacs.server", description=__doc__)
    parser.add_argument("command", choices=["check", "run"])
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="the site's own settings")
    parser.add_argument(
        "--environment", type=Path, action="append", default=[], help="a file of variables, where systemd gives none"
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        default=Path(credentials) if credentials else None,
        help="folder of the secrets, a file for each variable",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
