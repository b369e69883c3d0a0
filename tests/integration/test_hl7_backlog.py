"""What piled up is worked several messages in a transaction, and none of them suffers for another."""

from __future__ import annotations

from fixtures.hl7_backlogs import Worked, fill
from fixtures.hl7_servers import running_bridge
from fixtures.process_pools import becomes_true
from pacs.database import Database
from pacs.hl7.states import MessageState

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")


def test_backlog_is_worked_together_once_and_in_order(database: Database) -> None:
    """Three hundred orders of forty patients: each is done once, in its patient's order, in far fewer transactions."""
    fill(database, 300, patients=40)
    worked = Worked()
    with running_bridge(database, prepare=worked.register) as running:
        running.wait_until_worked(300, seconds=60)
        states = {entry.state for entry in running.entries()}
    assert worked.by_patient == {f"P{first}": list(range(first, 300, 40)) for first in range(40)}
    assert len(worked.together) < 150
    assert states == {MessageState.DONE}


def test_message_at_fault_takes_no_other_with_it(database: Database) -> None:
    """Where one of several fails, the others are done all the same, once; it alone is a dead letter."""
    fill(database, 60, patients=60, bad=frozenset({7, 31}))
    worked = Worked()
    with running_bridge(database, prepare=worked.register) as running:
        running.wait_until_worked(58, seconds=60)
        assert becomes_true(lambda: len(running.bridge.inbox.queue.dead_letters()) == 2)
        failed = [entry.control_id for entry in running.entries() if entry.state is MessageState.FAILED]
    assert sorted(number for numbers in worked.by_patient.values() for number in numbers) == [
        number for number in range(60) if number not in {7, 31}
    ]
    assert failed == ["BAD7", "BAD31"]
