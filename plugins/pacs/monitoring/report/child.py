"""Makes one monthly report: a process of its own, told by standard input what to make.

Exit status 0: it is there. 1: one line tells why not.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pacs.database import Database
from pacs.errors import PacsError
from pacs.monitoring.report.counting import count
from pacs.monitoring.report.month import Month
from pacs.monitoring.report.writing import write
from pacs.monitoring.settings import MonitoringSettings
from pacs.web.settings import WebSettings

_NICENESS = 10


def main() -> int:
    """Read what to make, make it, and return the exit status."""
    # Where the service is confined this is refused, and it works without.
    with suppress(OSError):
        os.nice(_NICENESS)
    setup: dict[str, Any] = json.load(sys.stdin)
    settings = MonitoringSettings.model_validate(setup["monitoring"])
    web = WebSettings.model_validate(setup["web"] | {"Language": setup["language"]})
    month = Month.parse(setup["month"])
    try:
        with Database(setup["database"]) as database, database.session() as session:
            report = count(session, month, web.zone, settings.reference_levels, datetime.now(UTC))
        write(report, web, settings.report_folder)
    except (PacsError, OSError) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
