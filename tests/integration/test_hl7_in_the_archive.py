"""The running archive takes HL7 messages: those of the world, and through the death of Orthanc."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from fixtures.hl7_messages import CorpusMessage
from fixtures.hl7_servers import listens
from fixtures.mllp import Sender, msa, order, sender
from fixtures.process_pools import becomes_true, is_alive
from fixtures.running_pacs import RunningPacs, running
from pacs.hl7.errors import NotHl7
from pacs.hl7.header import Header

pytest_plugins = ("fixtures.hl7_corpus",)

DUE = {"ok": "AA", "ae": "AE", "ar": "AR"}


def test_every_real_message_is_answered_once_with_its_control_id(
    pacs: RunningPacs, real_hl7: list[CorpusMessage]
) -> None:
    """Each of the world's messages gets one answer that names it, as its file says, over one kept connection."""
    with sender(pacs.hl7_port, timeout_seconds=30) as his:
        for each in real_hl7:
            code, control_id = msa(his.send(each.raw))
            assert control_id == _control_id(each.raw), each.name
            assert not each.due or code == DUE[each.due], each.name
        # No answer more: the next one is the next message's.
        assert msa(his.send(order("THE-END"))) == ("AA", "THE-END")


def test_receiver_dies_with_orthanc_and_comes_back_with_it(tmp_path: Path) -> None:
    """Killed with SIGKILL, Orthanc takes the receiver along; started again, the port answers and nothing is lost."""
    with running(tmp_path) as pacs:
        with sender(pacs.hl7_port) as his:
            assert msa(his.send(order("BEFORE"))) == ("AA", "BEFORE")
            receiver = _receiver_of(pacs)
            os.kill(pacs.orthanc_pid(), signal.SIGKILL)
            assert his.is_ended()
        assert becomes_true(lambda: not is_alive(receiver))
        assert becomes_true(lambda: listens(pacs.hl7_port), 30)
        with sender(pacs.hl7_port) as his:
            assert msa(his.send(order("AFTER"))) == ("AA", "AFTER")
        assert becomes_true(lambda: _worked(tmp_path) == ["BEFORE", "AFTER"], 30)
        assert "pacs_hl7_messages_total" in pacs.archive.get_bytes("/pacs/metrics").decode()


def test_port_is_on_loopback_alone(pacs: RunningPacs) -> None:
    """Nothing but loopback is listened on unless a person says so: MLLP is not encrypted."""
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {
        row[1].split(":")[0] for row in listening if row[1].endswith(f":{pacs.hl7_port:04X}") and row[3] == "0A"
    }
    assert addresses == {"0100007F"}
    with pytest.raises(OSError, match=r"refused|reset|timed out"):
        Sender(pacs.hl7_port, host="127.0.0.2", timeout_seconds=2).send(order())


def _receiver_of(pacs: RunningPacs) -> int:
    children = Path(f"/proc/{pacs.orthanc_pid()}/task").glob("*/children")
    pids = [int(pid) for each in children for pid in each.read_text().split()]
    return next(pid for pid in pids if b"pacs.hl7.receiver" in Path(f"/proc/{pid}/cmdline").read_bytes())


def _control_id(raw: bytes) -> str:
    try:
        header = Header.scan(raw)
    except NotHl7:
        return ""
    return header.control_id.encode(header.codec).decode("latin-1")


def _worked(data_directory: Path) -> list[str]:
    with sqlite3.connect(data_directory / "plugins" / "pacs.db") as connection:
        rows = connection.execute("SELECT control_id FROM hl7_messages WHERE state = 'done' ORDER BY id")
        return [row[0] for row in rows]
