"""What the journal is told of a message by its beginning."""

from __future__ import annotations

from fixtures.mllp import order
from pacs.hl7.brief import HEAD_BYTES, Brief
from pacs.hl7.settings import PeerSettings


def test_long_message_is_cut_between_two_segments() -> None:
    """A letter of two bytes that stands where the beginning ends does not make all others wrong."""
    head = order("C1").replace(b"8859/1", b"UNICODE UTF-8").replace(b"PRUEBA^ANA^MARIA", "MUÑOZ^ÍÑIGO".encode())
    head += b"OBX|3|ED|PDF||^AP^^Base64^QUJD\rNTE|9||"
    filling = b"x" * ((HEAD_BYTES - len(head) - 1) % 2) + "Ñ".encode() * HEAD_BYTES
    raw = head + filling + b"\r"
    assert raw[HEAD_BYTES] & 0xC0 == 0x80, "the cut would be between two letters"
    for cut in (raw, raw[:HEAD_BYTES]):
        brief = Brief.read(cut, PeerSettings.model_validate({"SniffUtf8": False}))
        assert (brief.patient_name, brief.accession_numbers) == ("MUÑOZ^ÍÑIGO", "A1")


def test_long_message_without_segment_ends_is_read_as_far_as_it_goes() -> None:
    """Even what has no end gives its header."""
    raw = b"MSH|^~\\&|HIS|||||" + b"|" * HEAD_BYTES
    assert Brief.read(raw, PeerSettings()).message_type == ""
