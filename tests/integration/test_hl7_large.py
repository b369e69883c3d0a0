"""The largest message that is taken, on both databases."""

from __future__ import annotations

from fixtures.hl7_servers import receiver_pid, running_bridge
from fixtures.memory import memory_peak
from fixtures.mllp import msa, order, report, sender
from fixtures.process_pools import becomes_true
from pacs.database import Database
from pacs.hl7.journal import Search

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")


def test_message_of_64_megabytes_is_taken_within_its_memory(database: Database) -> None:
    """A message of nearly 64 MB is answered AA, and the receiver's memory grows by less than four times it."""
    message = report(63 * 2**20)
    with running_bridge(database) as running, sender(running.port, timeout_seconds=60) as his:
        his.send(order("FIRST"))
        with memory_peak(receiver_pid()) as peak_bytes:
            assert msa(his.send(message)) == ("AA", "BIG")
            assert peak_bytes() < 4 * len(message)
        assert becomes_true(lambda: len(running.bridge.journal.find(Search())) == 2)
        [entry] = [each for each in running.entries() if each.control_id == "BIG"]
        assert entry.raw == message
