"""An archive that took messages for a day and worked none: what waited is done."""

from __future__ import annotations

import time

from fixtures.hl7_backlogs import Worked, fill
from fixtures.hl7_servers import running_bridge
from pacs.database import Database

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

MESSAGES = 100_000
PATIENTS = 5_000
PROGRESS_SECONDS = 60


def test_hundred_thousand_waiting_messages_are_worked_once_and_in_order(database: Database) -> None:
    """None is lost, none is done twice, and each patient's are done in the order in which they came."""
    fill(database, MESSAGES, patients=PATIENTS)
    worked = Worked()
    with running_bridge(database, prepare=worked.register) as running:
        _wait_until_all_are_worked(worked)
        running.wait_until_worked(MESSAGES)
    assert worked.by_patient == {f"P{first}": list(range(first, MESSAGES, PATIENTS)) for first in range(PATIENTS)}


def _wait_until_all_are_worked(worked: Worked) -> None:
    """Wait as long as some are; fail when no more are."""
    most, give_up_at = -1, 0.0
    while (done := worked.count) < MESSAGES:
        if done > most:
            most, give_up_at = done, time.monotonic() + PROGRESS_SECONDS
        assert time.monotonic() < give_up_at, f"nothing was worked after the first {most} messages"
        time.sleep(1)
