"""Answers to worklist questions as the core gives them, past two habits of Orthanc's.

Orthanc 1.12.7 converts each answer of a plugin to its DefaultEncoding, Latin-1 here: of a Polish or Japanese name
nothing is left. And it compares the items of sequences once more, by rules of its own: a step that DICOM says to match
(a range over date and time, one of several AE titles, an accent) goes out without its Scheduled Procedure Step.
Neither can be set. Both are objects in memory while the callback runs: the set of answers, whose first member is the
encoding, and the matcher, whose lists of constraints can be emptied for as long as we answer. They are touched only
when everything about them is as expected: the matcher must hold exactly the keys of the question.

Sources: Orthanc 1.12.7, DicomFindAnswers.h, HierarchicalMatcher.h, DatabaseLookup.h, OrthancPlugins.cpp
(`WorklistHandler`), Enumerations.h (`Encoding`); libstdc++, bits/stl_tree.h and bits/stl_vector.h.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset

# Of a Python object: the count of references, the type, and in Orthanc's wrappers the pointer to what they wrap.
_POINTER_IN_WRAPPER = 16
_ENCODINGS = {"ISO_IR 192": 1, "ISO_IR 100": 2}
_LAST_ENCODING = 17
# DicomFindAnswers: encoding_, isWorklist_, answers_ (a vector of begin, end and capacity), complete_.
_ANSWERS = struct.Struct("<iB3x3QB")
# WorklistHandler: its functions, that_, matcher_, filtered_, currentQuery_.
_HANDLER = struct.Struct("<5Q")
# HierarchicalMatcher: flatTags_ (a set), flatConstraints_ (a vector first), sequences_ (a map).
_FLAT_TAGS, _CONSTRAINTS, _SEQUENCES = 0, 48, 72
_VECTOR = struct.Struct("<3Q")
# std::_Rb_tree: the comparison, the header (color, root, leftmost, rightmost), the number of nodes.
_TREE = struct.Struct("<8x8xQ16xQ")
# A node: color, parent, left, right; a DicomTag; in a map, a pointer.
_NODE = struct.Struct("<16x2Q2H4xQ")
_SET_NODE = struct.Struct("<16x2Q2H")
_MOST_KEYS = 2000
_CHARACTER_SET = 0x00080005


def wrapped(wrapper: object) -> int:
    """Return the address of the object of Orthanc that one of its Python objects stands for.

    Raises
    ------
    LookupError : it stands for none.
    """
    address = ctypes.c_void_p.from_address(id(wrapper) + _POINTER_IN_WRAPPER).value
    if not address:
        raise LookupError("Orthanc's Python object stands for nothing")
    return address


def expect_answers_in(answers: int, character_set: str, *, count: int) -> None:
    """Have Orthanc take the answers that are added from now on as they are, when they are in `character_set`.

    Parameters
    ----------
    answers : address of Orthanc's set of answers.
    count : how many answers it has.

    Raises
    ------
    LookupError : the set of answers is not as we know it.
    """
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        encoding, is_worklist, begin, end, capacity, is_complete = _unpacked(memory, answers, _ANSWERS)
    is_known = 0 <= encoding <= _LAST_ENCODING and is_worklist == is_complete == 1
    if not is_known or end - begin != count * 8 or not begin <= end <= capacity:
        raise LookupError("Orthanc keeps answers to worklist questions in a form that is not known")
    ctypes.c_int32.from_address(answers).value = _ENCODINGS[character_set]


@contextmanager
def items_not_compared(query: int, question: Dataset) -> Iterator[None]:
    """Keep Orthanc from comparing the items of sequences in answers while the block runs.

    Parameters
    ----------
    query : address of Orthanc's handler of the question.
    question : its keys, which its matcher must hold, these and no other.

    Raises
    ------
    LookupError : the matcher is not as we know it.
    """
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        _, _, matcher, filtered, current = _unpacked(memory, query, _HANDLER)
        if filtered or not current:
            raise LookupError("Orthanc keeps a worklist question in a form that is not known")
        lists = list(_constraints_of_items(memory, matcher, question))
    for start, begin, _ in lists:
        ctypes.c_uint64.from_address(start + 8).value = begin
    try:
        yield
    finally:
        # Orthanc frees what is between begin and end.
        for start, _, end in lists:
            ctypes.c_uint64.from_address(start + 8).value = end


def _constraints_of_items(memory: BinaryIO, matcher: int, keys: Dataset) -> Iterator[tuple[int, int, int]]:
    """Yield where the vectors of constraints of all items are, each with its begin and end."""
    asked = [key for key in keys if key.tag != _CHARACTER_SET and key.tag.element != 0]
    sequences = {int(key.tag): key.value for key in asked if key.VR == "SQ"}
    found = {tag for tag, _ in _nodes(memory, matcher + _FLAT_TAGS, _SET_NODE)}
    nodes = dict(_nodes(memory, matcher + _SEQUENCES, _NODE))
    if found != {int(key.tag) for key in asked} - set(sequences) or set(nodes) != set(sequences):
        raise LookupError("Orthanc's matcher of a worklist question does not hold its keys")
    for tag, child in nodes.items():
        if child:
            begin, end, capacity = _unpacked(memory, child + _CONSTRAINTS, _VECTOR)
            # A range of dates is two constraints.
            if not begin <= end <= capacity or (end - begin) % 8 or end - begin > 16 * len(sequences[tag][0]):
                raise LookupError("Orthanc keeps constraints of a worklist question in a form that is not known")
            yield child + _CONSTRAINTS, begin, end
            yield from _constraints_of_items(memory, child, sequences[tag][0])


def _nodes(memory: BinaryIO, tree: int, form: struct.Struct) -> Iterator[tuple[int, int]]:
    """Yield tag and pointer (0 in a set) of each node of a set or map."""
    root, count = _unpacked(memory, tree, _TREE)
    left_to_see, seen = [root], 0
    while left_to_see:
        node = left_to_see.pop()
        if not node:
            continue
        seen += 1
        if seen > min(count, _MOST_KEYS):
            raise LookupError("Orthanc's matcher of a worklist question is not as known")
        left, right, group, element, *pointer = _unpacked(memory, node, form)
        left_to_see += [left, right]
        yield group << 16 | element, pointer[0] if pointer else 0
    if seen != count:
        raise LookupError("Orthanc's matcher of a worklist question is not as known")


def _unpacked(memory: BinaryIO, address: int, form: struct.Struct) -> tuple[int, ...]:
    """Read memory of this process; where there is none that is told, where a plain access would end the process."""
    try:
        memory.seek(address)
        return form.unpack(memory.read(form.size))
    except (OSError, OverflowError, ValueError, struct.error) as error:
        raise LookupError(f"nothing can be read at {address:#x}") from error
