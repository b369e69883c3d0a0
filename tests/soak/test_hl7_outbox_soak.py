"""A HIS that was away for a day: what waited for it goes out."""

from __future__ import annotations

import time

from fixtures.hospital_system import hospital_system
from fixtures.outboxes import Sending, accessions, fill, in_order_within_patients, sending
from fixtures.ports import free_port
from pacs.database import Database
from pacs.work import WorkState

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

MESSAGES = 100_000
PROGRESS_SECONDS = 60


def test_hundred_thousand_messages_go_out_in_order_once_the_system_is_back(database: Database) -> None:
    """None is lost, none comes twice, each patient's are in order, and the journal has every acknowledgment."""
    port = free_port()
    outbox = sending(database, port)
    fill(outbox, MESSAGES)
    with outbox.running():
        # The system is looked for now and then, and nothing is given up.
        time.sleep(10)
        assert WorkState.FAILED not in outbox.counts()
        with hospital_system(port=port) as system:
            _wait_until_all_are_sent(outbox)
    assert len(set(accessions(system))) == len(system.received) == MESSAGES
    assert in_order_within_patients(system)


def _wait_until_all_are_sent(outbox: Sending) -> None:
    """Wait as long as some are; fail when no more are."""
    most, give_up_at = -1, 0.0
    while (done := outbox.counts().get(WorkState.DONE, 0)) < MESSAGES:
        if done > most:
            most, give_up_at = done, time.monotonic() + PROGRESS_SECONDS
        assert time.monotonic() < give_up_at, f"nothing was sent after the first {most} messages"
        time.sleep(1)
