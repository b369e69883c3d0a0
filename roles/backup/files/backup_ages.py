"""Tells how old the last success of each task at each place is, and which is late: for the self-check."""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

STATUS = Path("/var/lib/pacs-backup/status")
NEVER = "2000-01-01T00:00:00+00:00"


def main():
    """Print a line for each place and task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, help="seconds after which new images at a place are late")
    parser.add_argument("--log", type=int, help="seconds after which PostgreSQL's log at a place is late")
    parser.add_argument("places", nargs="*")
    options = parser.parse_args()
    for place in options.places:
        for kind in ("files", "log"):
            seconds = age_seconds(STATUS / f"{kind}.{place}.json")
            print(f"{place}: {kind} {seconds} s ago{' LATE' if seconds > getattr(options, kind) else ''}")


def age_seconds(path):
    """Return the seconds since the last success; a lifetime where there is none."""
    last = json.loads(path.read_text()).get("last_success", NEVER) if path.exists() else NEVER
    return int((datetime.now(UTC) - datetime.fromisoformat(last)).total_seconds())


if __name__ == "__main__":
    main()
