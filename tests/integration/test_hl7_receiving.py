"""Messages over real MLLP: each is durable before its answer, done once, in its patient's order, on both databases."""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.orm import Session

from fixtures.hl7_servers import RunningBridge, running_bridge
from fixtures.mllp import END, START, framed, msa, order, sender
from fixtures.process_pools import becomes_true
from pacs.database import Database
from pacs.errors import Conflict
from pacs.hl7.bridge import Hl7Bridge
from pacs.hl7.errors import MalformedMessage
from pacs.hl7.processing import Effect, Incoming, Result
from pacs.hl7.states import Direction, MessageState

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")


class Handled:
    """Notes what it is given; fails for control ids that begin with BAD, and waits for `gate` at those with SLOW."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.by_patient: dict[str, list[str]] = defaultdict(list)
        self.in_hand: set[str] = set()
        self.overlaps: list[str] = []
        self.gate = threading.Event()
        self._lock = threading.Lock()

    def register(self, bridge: Hl7Bridge) -> None:
        """Take all orders and patients."""
        bridge.processor.register(["ORM^O01", "ADT"], self.handle)

    def handle(self, incoming: Incoming) -> Effect:
        """Read a message, which its effect notes."""
        control_id = incoming.header.control_id
        if control_id.startswith("BAD"):
            raise MalformedMessage("Expected another field.", location="OBR^1^4")
        if control_id.startswith("SLOW"):
            assert self.gate.wait(20)
        patients = re.findall(r"\b(?:PID\|1\|\||MRG\|)(\w+)", str(incoming.message))

        def note(_session: Session) -> Result:
            with self._lock:
                self.ids.append(control_id)
                for patient in patients:
                    self.by_patient[patient].append(control_id)
            return Result("noted", {"patients": len(patients)})

        return note


@pytest.fixture
def handled() -> Handled:
    """Return the handler of the running bridge."""
    return Handled()


@pytest.fixture
def running(database: Database, handled: Handled) -> Iterator[RunningBridge]:
    """Return a bridge that runs."""
    with running_bridge(database, prepare=handled.register) as started:
        yield started


def merge(control_id: str, surviving: str, prior: str) -> bytes:
    """Return an ADT^A40."""
    return (
        f"MSH|^~\\&|HIS|H|PACS|R|20260102||ADT^A40|{control_id}|P|2.5\rEVN|A40\rPID|1||{surviving}^^^H\r"
        f"MRG|{prior}^^^H\r"
    ).encode()


def test_message_is_answered_kept_and_worked(running: RunningBridge, handled: Handled) -> None:
    """An order gets AA with its control id; the journal has its bytes, ours, and what it became."""
    message = order("C1", patient_id="P7", accession="ACC7")
    with sender(running.port) as his:
        answer = his.send(message)
    assert msa(answer) == ("AA", "C1")
    running.wait_until_worked(1)
    [entry] = running.entries()
    assert handled.ids == ["C1"]
    assert (entry.raw, entry.ack) == (message, answer)
    assert (entry.direction, entry.state, entry.outcome) == (Direction.IN, MessageState.DONE, "AA")
    assert (entry.control_id, entry.message_type, entry.trigger_event) == ("C1", "ORM", "O01")
    assert (entry.patient_ids, entry.accession_numbers, entry.remote_address) == ("P7", "ACC7", "127.0.0.1")
    assert entry.result == {"kind": "noted", "patients": 1}


def test_connection_is_kept_for_many_messages_and_answers_come_in_order(running: RunningBridge) -> None:
    """Twenty messages in one packet get twenty answers in their order, and the connection stays."""
    with sender(running.port) as his:
        his.write(b"".join(framed(order(f"M{number}")) for number in range(20)))
        assert [msa(his.answer())[1] for _ in range(20)] == [f"M{number}" for number in range(20)]
        assert msa(his.send(order("LAST"))) == ("AA", "LAST")


def test_fifty_senders_at_once_get_their_own_answers(running: RunningBridge, handled: Handled) -> None:
    """Fifty connections with twenty messages each: every answer names its message, and all are worked."""

    def send(number: int) -> list[tuple[str, str]]:
        with sender(running.port, timeout_seconds=30) as his:
            return [msa(his.send(order(f"S{number}-{n}", patient_id=f"P{number}"))) for n in range(20)]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert answers == [[("AA", f"S{number}-{n}") for n in range(20)] for number in range(50)]
    running.wait_until_worked(1000, 60)
    assert len(handled.ids) == 1000
    for number in range(50):
        assert handled.by_patient[f"P{number}"] == [f"S{number}-{n}" for n in range(20)]


def test_repeated_message_gets_the_first_answer_and_is_done_once(running: RunningBridge, handled: Handled) -> None:
    """Sent again, over the same connection or another, byte for byte the same answer comes and nothing is done."""
    message = order("AGAIN")
    with sender(running.port) as his:
        first = his.send(message)
        assert his.send(message) == first
    with sender(running.port) as his:
        his.write(framed(message) * 3)
        assert [his.answer() for _ in range(3)] == [first] * 3
    running.wait_until_worked(1)
    assert becomes_true(lambda: running.figure("pacs_hl7_repeated_total", peer="") == 4)
    assert handled.ids == ["AGAIN"]
    assert len(running.entries()) == 1


def test_same_control_id_with_other_content_is_another_message(running: RunningBridge, handled: Handled) -> None:
    """Control ids come again after a restart of a HIS: what is new in content is new."""
    with sender(running.port) as his:
        assert msa(his.send(order("SAME", text="CT THORAX"))) == ("AA", "SAME")
        assert msa(his.send(order("SAME", text="CT ABDOMEN"))) == ("AA", "SAME")
    running.wait_until_worked(2)
    assert handled.ids == ["SAME", "SAME"]


REFUSED = {
    "not-hl7": (b"HELLO", "AR", ""),
    "no-type": (order("R1").replace(b"|ORM^O01|", b"||"), "AR", "R1"),
    "unknown-type": (order("R2").replace(b"|ORM^O01|", b"|ZZZ^Z01|"), "AR", "R2"),
    "no-patient": (order("R3").replace(b"|P1^^^HOSPITAL|", b"||"), "AE", "R3"),
    "no-text-of-its-charset": (order("R4", text="\xe1").replace(b"8859/1", b"NOBODY KNOWS"), "AE", "R4"),
    "empty": (b"", "AR", ""),
}


@pytest.mark.parametrize(("message", "code", "control_id"), REFUSED.values(), ids=REFUSED)
def test_unusable_message_is_told_so_and_kept(
    running: RunningBridge, handled: Handled, message: bytes, code: str, control_id: str
) -> None:
    """What can't be used is answered AE or AR, journaled with the reason, never worked, and the connection stays."""
    with sender(running.port) as his:
        assert msa(his.send(message)) == (code, control_id)
        assert msa(his.send(order("GOOD"))) == ("AA", "GOOD")
    running.wait_until_worked(1)
    assert becomes_true(lambda: len(running.entries()) == 2)
    refused, _ = running.entries()
    assert (refused.state, refused.outcome, refused.raw) == (MessageState.REFUSED, code, message)
    assert refused.error
    assert handled.ids == ["GOOD"]


def test_dead_letter_holds_up_its_own_patient_only(running: RunningBridge, handled: Handled) -> None:
    """After a message that can't be done its patient's later ones wait, others go on; skipped, they follow."""
    with sender(running.port) as his:
        for control_id, patient in (("BAD1", "P1"), ("A2", "P1"), ("B1", "P2"), ("A3", "P1")):
            his.send(order(control_id, patient_id=patient))
    assert becomes_true(lambda: handled.ids == ["B1"])
    journal, inbox = running.bridge.journal, running.bridge.inbox
    # The journal has it before the queue: only then it can be decided on.
    assert becomes_true(lambda: len(inbox.queue.dead_letters()) == 1)
    bad = running.entries()[0]
    assert (bad.state, bad.error, bad.error_location) == (MessageState.FAILED, "Expected another field.", "OBR^1^4")
    with pytest.raises(Conflict):
        inbox.skip(running.entries()[1].id)
    inbox.skip(bad.id)
    assert becomes_true(lambda: handled.by_patient["P1"] == ["A2", "A3"])
    assert journal.get(bad.id).state is MessageState.SKIPPED


def test_corrected_dead_letter_is_done_in_its_old_place(running: RunningBridge, handled: Handled) -> None:
    """A person corrects it: the corrected message is done before what waited, and both are in the journal."""
    with sender(running.port) as his:
        for control_id in ("BAD1", "NEXT"):
            his.send(order(control_id))
    inbox = running.bridge.inbox
    assert becomes_true(lambda: len(inbox.queue.dead_letters()) == 1)
    bad = running.entries()[0]
    inbox.replay(bad.id)
    assert becomes_true(lambda: len(inbox.queue.dead_letters()) == 1)
    corrected = inbox.correct(bad.id, bad.raw.replace(b"BAD1", b"GOOD1"))
    assert becomes_true(lambda: handled.ids == ["GOOD1", "NEXT"])
    entry = running.bridge.journal.get(corrected)
    assert (entry.state, entry.corrected_from) == (MessageState.DONE, bad.id)
    assert running.bridge.journal.get(bad.id).state is MessageState.REPLACED


def test_merge_waits_for_both_patients_and_both_wait_for_it(running: RunningBridge, handled: Handled) -> None:
    """A merge of two patients with work in hand comes after what came before and before what came after, for both."""
    with sender(running.port) as his:
        his.send(order("SLOW-A", patient_id="PA"))
        his.send(order("SLOW-B", patient_id="PB"))
        his.send(merge("MERGE", "PA", "PB"))
        his.send(order("AFTER-A", patient_id="PA"))
        his.send(order("AFTER-B", patient_id="PB"))
        his.send(merge("CHAIN", "PC", "PA"))
        his.send(order("AFTER-C", patient_id="PC"))
    time.sleep(1)
    assert handled.ids == []
    handled.gate.set()
    running.wait_until_worked(7)
    assert handled.by_patient["PA"] == ["SLOW-A", "MERGE", "AFTER-A", "CHAIN"]
    assert handled.by_patient["PB"] == ["SLOW-B", "MERGE", "AFTER-B"]
    assert handled.by_patient["PC"] == ["CHAIN", "AFTER-C"]


def test_fault_of_ours_is_tried_again_and_given_up_in_the_end(database: Database) -> None:
    """A handler that breaks is tried again; what never works becomes a dead letter that says so."""
    tries: list[str] = []

    def break_twice(incoming: Incoming) -> Effect:
        tries.append(incoming.header.control_id)
        if len(tries) < 3:
            raise KeyError("broken")
        return lambda _session: Result("noted")

    with running_bridge(database, prepare=lambda bridge: bridge.processor.register(["ORM"], break_twice)) as running:
        with sender(running.port) as his:
            his.send(order("C1"))
        running.wait_until_worked(1)
    assert tries == ["C1"] * 3


def test_what_is_settled_and_old_is_purged(running: RunningBridge) -> None:
    """Old messages go, bytes and all; a dead letter stays until a person decides."""
    with sender(running.port) as his:
        for control_id in ("DONE", "BAD"):
            his.send(order(control_id, patient_id=control_id))
    assert becomes_true(lambda: [each.state for each in running.entries()] == [MessageState.DONE, MessageState.FAILED])
    assert running.bridge.journal.purge(1) == 0
    assert running.bridge.journal.purge(-1) == 1
    assert [each.control_id for each in running.entries()] == ["BAD"]


@pytest.mark.parametrize("text", ["P77", "p77", "SECOND", "ACC9", "CTRL", "prueb"])
def test_journal_finds_by_patient_accession_and_control_id(running: RunningBridge, text: str) -> None:
    """The beginning of an identifier, an accession number or a control id finds the message, and so does a name."""
    with sender(running.port) as his:
        his.send(order("CTRL77", patient_id="P77^^^H~SECOND", accession="ACC99"))
        his.send(order("OTHER", patient_id="Q1", accession="B1").replace(b"PRUEBA", b"OTRA"))
    running.wait_until_worked(2)
    assert [each.control_id for each in running.entries(text=text)] == ["CTRL77"]


def test_half_a_message_is_refused_when_the_sender_ends(running: RunningBridge) -> None:
    """A sender that ends its side in the middle of a message is told, and what it had said whole is answered."""
    with sender(running.port) as his:
        his.write(framed(order("WHOLE")) + START + order("HALF")[:300])
        his.socket.shutdown(1)
        assert msa(his.answer()) == ("AA", "WHOLE")
        assert msa(his.answer()) == ("AR", "HALF")
        assert his.is_ended()


def test_end_alone_is_the_end_after_a_silence(running: RunningBridge) -> None:
    """FS without CR is taken for the end after 200 ms."""
    with sender(running.port) as his:
        began = time.monotonic()
        his.write(START + order("ALONE") + END[:1])
        assert msa(his.answer()) == ("AA", "ALONE")
        assert 0.1 < time.monotonic() - began < 10
