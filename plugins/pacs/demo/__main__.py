"""Write the demo studies into a folder: `python -m pacs.demo --output DIR [--only CT]`."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from pacs.demo.studies import DemoStudy, demo_studies
from pacs.demo.syntaxes import write

_log = logging.getLogger("pacs.demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what the command line asks for; return the exit status."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for demo in demo_studies(options.today):
        if options.only in {None, demo.name}:
            _write_study(demo, options.output)
    return 0


def _write_study(demo: DemoStudy, output: Path) -> None:
    started = time.monotonic()
    sizes_bytes = [
        write(instance, output / demo.name / f"{instance.SeriesNumber:02d}" / f"{instance.InstanceNumber:04d}.dcm")
        .stat()
        .st_size
        for instance in demo.instances()
    ]
    spent_seconds = time.monotonic() - started
    _log.info("%s: %d instances, %.1f MB, %.1f s", demo.name, len(sizes_bytes), sum(sizes_bytes) / 1e6, spent_seconds)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pacs.demo", description="Write fictitious DICOM studies as files.")
    today = datetime.now().astimezone().date()
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("--only", choices=[demo.name for demo in demo_studies(today)], help="write this study alone")
    parser.add_argument("--today", type=date.fromisoformat, default=today, help="date of the newest study (YYYY-MM-DD)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
