"""`pacs.native.worklist_answers`: Orthanc's objects are touched only when they are what they should be.

That the touch does what it should is shown by tests/integration/test_worklist_dimse.py, in Orthanc.
"""

from __future__ import annotations

import ctypes
import struct

import pytest

from fixtures.worklist_entries import question
from pacs.native.worklist_answers import expect_answers_in, items_not_compared, wrapped

LATIN_1, UTF_8 = 2, 1
NOWHERE = 0x10


def _answers(
    encoding: int = LATIN_1,
    *,
    is_worklist: int = 1,
    begin: int = 0,
    end: int = 0,
    capacity: int = 0,
    is_complete: int = 1,
) -> ctypes.Array[ctypes.c_char]:
    """Return memory that looks like Orthanc's set of answers."""
    return ctypes.create_string_buffer(
        struct.pack("<iB3x3QB7x", encoding, is_worklist, begin, end, capacity, is_complete), 40
    )


def _encoding(answers: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.c_int32.from_buffer(answers).value


@pytest.mark.parametrize(("charset", "encoding"), [("ISO_IR 192", UTF_8), ("ISO_IR 100", LATIN_1)])
def test_answers_are_expected_in_their_character_set(charset: str, encoding: int) -> None:
    """Orthanc takes the next answers as what they are, and nothing else is changed."""
    answers = _answers(begin=800, end=816, capacity=832)
    before = answers.raw[4:]
    expect_answers_in(ctypes.addressof(answers), charset, count=2)
    assert (_encoding(answers), answers.raw[4:]) == (encoding, before)


@pytest.mark.parametrize(
    ("answers", "count"),
    [
        (_answers(encoding=99), 0),
        (_answers(is_worklist=0), 0),
        (_answers(is_complete=0), 0),
        (_answers(begin=800, end=808, capacity=808), 0),
        (_answers(begin=808, end=800, capacity=800), 0),
        (_answers(), 1),
        (_answers(begin=800, end=808, capacity=800), 1),
    ],
    ids=["encoding", "no worklist", "not complete", "one too many", "backwards", "one too few", "over capacity"],
)
def test_unknown_form_of_answers_is_left_alone(answers: ctypes.Array[ctypes.c_char], count: int) -> None:
    """In another version of Orthanc the question fails, and nothing is written into its memory."""
    before = answers.raw
    with pytest.raises(LookupError):
        expect_answers_in(ctypes.addressof(answers), "ISO_IR 192", count=count)
    assert answers.raw == before


def test_no_memory_at_all_is_told() -> None:
    """An address that leads nowhere is a fault that is told, not the end of the process."""
    with pytest.raises(LookupError):
        expect_answers_in(NOWHERE, "ISO_IR 192", count=0)
    with pytest.raises(LookupError), items_not_compared(NOWHERE, question(PatientID="")):
        pass


@pytest.mark.parametrize("words", [[0] * 40, [NOWHERE] * 40], ids=["nothing", "nowhere"])
def test_unknown_form_of_question_is_left_alone(words: list[int]) -> None:
    """A matcher that does not hold the question's keys is none."""
    memory = ctypes.create_string_buffer(struct.pack("<40Q", *words), 320)
    with pytest.raises(LookupError), items_not_compared(ctypes.addressof(memory), question(PatientID="")):
        pass
    assert memory.raw == struct.pack("<40Q", *words)


def test_wrapper_of_nothing_is_told() -> None:
    """A Python object of Orthanc's that outlived what it stands for is not followed."""
    # A float's value stands where a wrapper has its pointer: 0.0 is all zeros.
    with pytest.raises(LookupError):
        wrapped(float("0"))
