"""Monthly reports from the command line: `python -m pacs.monitoring report --month 2026-10 --language es`.

It asks the running archive to make the report, as its page does, waits, and leaves both files in --into.

Exit status: 0 the files are there, 1 the archive did not make them, 2 it does not answer or refuses.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from pacs.monitoring.report.month import Month
from pacs.monitoring.report.reports import LANGUAGES, file_name
from pacs.web.pages_client import add_address, pages_client

_LOOK_SECONDS = 0.5
_KINDS = ("html", "pdf")


def main(arguments: Sequence[str] | None = None) -> int:
    """Have the report made, fetch it, and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with pages_client(options) as client:
            return _fetch(client, options)
    except (httpx.HTTPError, OSError) as error:
        sys.stderr.write(f"The archive's pages do not answer: {error}\n")
        return 2


def _fetch(client: httpx.Client, options: argparse.Namespace) -> int:
    month = Month.parse(options.month)
    names = [file_name(month, options.language, kind) for kind in _KINDS]
    before = {name: _stamp(client, name) for name in names}
    answer = client.post("/pacs/status/reports", data={"month": str(month), "language": options.language})
    if answer.is_error:
        sys.stderr.write(f"{answer.json().get('detail', answer.reason_phrase)}\n")
        return 2
    give_up_at = time.monotonic() + options.seconds
    while any(_stamp(client, name) in (None, before[name]) for name in names):
        if time.monotonic() > give_up_at:
            sys.stderr.write("The report was not made in time; the log of the archive tells why.\n")
            return 1
        time.sleep(_LOOK_SECONDS)
    for name in names:
        path = options.into / name
        path.write_bytes(client.get(f"/pacs/status/reports/{name}").raise_for_status().content)
        sys.stdout.write(f"{path}\n")
    return 0


def _stamp(client: httpx.Client, name: str) -> str | None:
    """Return what changes when a file is made anew; None while there is none."""
    answer = client.head(f"/pacs/status/reports/{name}")
    return answer.headers["Last-Modified"] if answer.is_success else None


def _parser() -> argparse.ArgumentParser:
    summary, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="pacs.monitoring", description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="make the report of a month")
    report.add_argument("--month", required=True, help="YYYY-MM")
    report.add_argument("--language", choices=LANGUAGES, default="es")
    report.add_argument("--into", type=Path, default=Path(), help="folder for the files; here otherwise")
    report.add_argument("--seconds", type=float, default=300, help="how long to wait")
    add_address(report)
    return parser


if __name__ == "__main__":
    sys.exit(main())
