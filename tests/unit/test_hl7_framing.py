"""MLLP frames out of whatever packets."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from fixtures.hl7_messages import ORDER, CorpusMessage, fictitious
from pacs.hl7.framing import Ending, Frame, FrameLimits, MllpFramer, frame

pytest_plugins = ("fixtures.hl7_corpus",)

A = b"MSH|^~\\&|A\rPID|1\r"
B = b"MSH|^~\\&|B\rPID|2\r"
MEBIBYTE = 1024 * 1024


def fed(*packets: bytes, limits: FrameLimits | None = None) -> list[Frame]:
    """Return the frames of one connection."""
    framer = MllpFramer(limits or FrameLimits())
    return list(itertools.chain.from_iterable(map(framer.feed, packets)))


@pytest.mark.parametrize(
    ("packets", "raws"),
    [
        pytest.param([frame(A)] * 5, [A] * 5, id="five messages one after the other"),
        pytest.param([frame(A) * 5], [A] * 5, id="five frames in one packet"),
        pytest.param([bytes([byte]) for byte in frame(A)], [A], id="byte by byte"),
        pytest.param([b"\x0b", A + b"\x1c\r"], [A], id="start byte alone first"),
        pytest.param([b"\x0b" + A, b"\x1c", b"\r"], [A], id="end in two packets"),
        pytest.param([frame(A.replace(b"\r", b"\n"))], [A.replace(b"\r", b"\n")], id="LF"),
        pytest.param([frame(A.replace(b"\r", b"\r\n"))], [A.replace(b"\r", b"\r\n")], id="CRLF"),
        pytest.param([frame(A + b"\r\r\n")], [A + b"\r\r\n"], id="blank lines at the end"),
        pytest.param([b"junk" + frame(A)], [A], id="junk before the start"),
        pytest.param([frame("MSH|^~\\&|Ñ".encode("latin-1"))], [b"MSH|^~\\&|\xd1"], id="accents"),
        pytest.param([frame(b"MSH|^~\\&|HIS|HOSP|PACS|RA")], [b"MSH|^~\\&|HIS|HOSP|PACS|RA"], id="header cut off"),
        pytest.param([b"\x0b" + A + b"\x1c" + frame(B)], [A, B], id="end without CR before the next start"),
        pytest.param([b"\x0b" + A + b"\x1c\n" + frame(B)], [A, B], id="end with LF"),
        pytest.param([b"\x0b" + A + frame(B)], [A, B], id="no end before the next start"),
        pytest.param([b"\x0b" + frame(A)], [A], id="start sent twice"),
        pytest.param([frame(A) + b"\r\n\r\n", frame(B)], [A, B], id="line ends between frames"),
        pytest.param([frame(A[:12] + b"\x0b" + A[12:])], [A[:12] + b"\x0b" + A[12:]], id="start byte in a text"),
        pytest.param([frame(A[:12] + b"\x1c" + A[12:])], [A[:12] + b"\x1c" + A[12:]], id="end byte in a text"),
        pytest.param([A + b"\x1c\r" + frame(B)], [A, B], id="no start"),
        pytest.param([b"xx\r" + A[:9], A[9:] + b"\x1c\r"], [A], id="no start, after junk"),
        pytest.param([b"\x0b\x1c\r" + frame(A)], [b"", A], id="empty frame"),
        pytest.param([frame(b"hola")], [b"hola"], id="no HL7"),
    ],
)
def test_framer_finds_the_messages(packets: list[bytes], raws: list[bytes]) -> None:
    """What senders do to frames costs no message."""
    assert [found.raw for found in fed(*packets)] == raws


@pytest.mark.parametrize("size", [MEBIBYTE, 8 * MEBIBYTE])
def test_framer_takes_large_messages_at_once_and_in_packets(size: int) -> None:
    """Reports with documents in them are messages too."""
    raw = A + b"OBX|1|ED|||" + b"QUJD" * (size // 4) + b"\r"
    assert fed(frame(raw))[0].raw == raw
    sent = frame(raw)
    assert fed(*(sent[at : at + 1400] for at in range(0, len(sent), 1400)))[0].raw == raw


def test_framer_counts_junk_and_starts_anew_for_each_frame() -> None:
    """What belongs to no frame is told once, line ends are no junk."""
    frames = fed(b"hello\r\n" + frame(A) + b"\r\n" + frame(A) + b"GET / HTTP/1.1\r\n\r\n", b"x" + frame(B))
    assert [found.junk_bytes_before for found in frames] == [5, 0, 15]


def test_framer_ends_a_message_at_a_lone_fs_after_silence() -> None:
    """FS without CR is an end once nothing follows for a while; the CR that comes late is no junk."""
    framer = MllpFramer()
    assert framer.feed(b"\x0b" + A + b"\x1c", now=10.0) == []
    assert framer.timeout_at == pytest.approx(10.2)
    assert framer.check_timeout(now=10.1) == []
    assert framer.check_timeout(now=10.3) == [Frame(A, 0, Ending.END_ALONE)]
    assert framer.timeout_at is None
    assert framer.check_timeout(now=11.0) == []
    assert framer.feed(b"\r" + frame(B)) == [Frame(B, 0, Ending.END)]


def test_framer_waits_for_the_cr_when_a_peer_is_set_so() -> None:
    """A strict peer's FS is nothing by itself."""
    framer = MllpFramer(FrameLimits(lone_end_seconds=None))
    framer.feed(b"\x0b" + A + b"\x1c", now=10.0)
    assert framer.check_timeout(now=99.0) == []
    assert [found.raw for found in framer.feed(b"\r")] == [A]


@pytest.mark.parametrize("ending", list(Ending))
def test_frame_tells_why_it_is_no_message(ending: Ending) -> None:
    """A frame that may be cut off is answered, but not taken."""
    fault = Frame(A, 0, ending).fault
    assert (fault is None) == (ending in {Ending.END, Ending.END_ALONE})
    assert fault is None or fault.rejects


@pytest.mark.parametrize("packet_bytes", [1, 7, 4096])
def test_framer_gives_the_head_of_what_is_too_long_and_goes_on(packet_bytes: int) -> None:
    """A message over the limit can be answered, and the next one is read."""
    limits = FrameLimits(message_bytes=1000)
    sent = frame(A) + frame(B + b"x" * 2000) + frame(A)
    frames = fed(*(sent[at : at + packet_bytes] for at in range(0, len(sent), packet_bytes)), limits=limits)
    assert [found.ended_by for found in frames] == [Ending.END, Ending.TOO_LONG, Ending.END]
    assert frames[1].raw.startswith(B)
    assert frames[2].raw == A


def test_framer_keeps_nothing_of_endless_junk() -> None:
    """Who sends anything but frames fills no memory."""
    framer = MllpFramer()
    for _ in range(1000):
        assert framer.feed(b"GET / HTTP/1.1 " * 100) == []
    assert framer.pending_bytes < 10
    assert framer.junk_bytes > 1_000_000
    assert framer.started_at is None


def test_framer_tells_since_when_a_frame_waits() -> None:
    """A server can end what takes too long."""
    framer = MllpFramer()
    framer.feed(b"\x0bMSH", now=5.0)
    framer.feed(b"|^~", now=9.0)
    assert (framer.started_at, framer.pending_bytes) == (5.0, 6)
    framer.feed(b"\x1c\r", now=9.5)
    assert (framer.started_at, framer.pending_bytes) == (None, 0)


def _assert_every_split_is_the_same(raw: bytes) -> None:
    sent = frame(raw)
    for at in range(1, len(sent)):
        assert [found.raw for found in fed(sent[:at], sent[at:])] == [raw], at


def test_framer_does_not_mind_where_packets_end() -> None:
    """Every split point of each kind of message."""
    for raw in fictitious():
        _assert_every_split_is_the_same(raw)


def test_framer_does_not_mind_where_packets_end_in_real_messages(real_hl7: list[CorpusMessage]) -> None:
    """Every split point of a hundred real messages."""
    short = [message.raw for message in real_hl7 if len(message.raw) < 2000]
    for raw in random.Random(1).sample(short, 100):
        _assert_every_split_is_the_same(raw)


def test_framer_finds_the_same_frames_in_any_packets() -> None:
    """Random streams of good and bad frames, cut at random places."""
    chance = random.Random(7)
    pieces = [frame(A), frame(B), b"\x0b" + A, A + b"\x1c\r", b"junk", b"\x1c", b"\x0b", b"\r", b"\x0bMSH", frame(b"")]
    for _ in range(500):
        stream = b"".join(chance.choices(pieces, k=8)) + frame(B)
        cuts = sorted(chance.sample(range(len(stream)), 6))
        packets = [stream[start:end] for start, end in itertools.pairwise([0, *cuts, len(stream)])]
        assert fed(*packets) == fed(stream)


def _seconds(size: int, packet_bytes: int) -> float:
    sent = frame(ORDER.encode() + b"OBX|1|ED|||" + b"QUJD" * (size // 4))
    started = time.process_time()
    frames = fed(*(sent[at : at + packet_bytes] for at in range(0, len(sent), packet_bytes)))
    assert len(frames) == 1
    return time.process_time() - started


def test_framer_is_linear_up_to_64_megabytes() -> None:
    """Four times the bytes take about four times the time, and 64 MB well under four seconds."""
    small = min(_seconds(15 * MEBIBYTE, 4096) for _ in range(3))
    large = _seconds(60 * MEBIBYTE, 4096)
    assert large < 4
    assert large < 12 * small + 0.2


def test_framer_is_linear_in_marks_and_junk() -> None:
    """Neither bytes that look like marks nor endless small frames make it slow."""
    started = time.process_time()
    assert len(fed(b"\x0b" + b"\x0b\x1cx" * 500_000 + b"\x1c\r")) == 1
    assert len(fed(frame(A) * 100_000)) == 100_000
    assert len(fed(b"\x0b" * 10_000_000 + b"\x1c\r")) == 1
    assert len(fed(b"y\x1c\r" * 5_000_000 + frame(A))) == 1
    assert time.process_time() - started < 20
