"""Where the compressed frames of an instance lie (PS3.5 A.4): items of a sequence, one or more a frame."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pacs.mesh.reading.files import Content

_ITEM: Final = b"\xfe\xff\x00\xe0"
_SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0"
_HEAD_BYTES: Final = 8
# A JPEG, JPEG-LS or JPEG 2000 stream begins so: start of image, start of codestream.
_STREAM_STARTS: Final = (b"\xff\xd8", b"\xff\x4f")


@dataclass(frozen=True, slots=True)
class Fragment:
    """An item: where its bytes begin, and how many there are."""

    start: int
    length: int


class FramesUnclear(ValueError):
    """Nothing says which items are which frame."""


def frames_of(content: Content, start: int, frames: int) -> list[list[Fragment]]:
    """Return the fragments of each frame; `start` is where the sequence of items begins.

    Raises
    ------
    EOFError : the file ends within the sequence.
    FramesUnclear : nothing says which items are which frame.
    """
    table, *fragments = _items(content, start)
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    firsts = _by_table(content, table, fragments) or _by_streams(content, fragments)
    if len(firsts) != frames:
        raise FramesUnclear
    return [fragments[first:end] for first, end in pairwise([*firsts, len(fragments)])]


def _items(content: Content, position: int) -> list[Fragment]:
    items: list[Fragment] = []
    while True:
        head = content.read(position, _HEAD_BYTES)
        if len(head) < _HEAD_BYTES:
            raise EOFError
        if head[:4] == _SEQUENCE_END:
            return items or [Fragment(position, 0)]
        length = int.from_bytes(head[4:], "little")
        position += _HEAD_BYTES
        if head[:4] != _ITEM or position + length > content.size:
            raise EOFError
        items.append(Fragment(position, length))
        position += length


def _by_table(content: Content, table: Fragment, fragments: list[Fragment]) -> list[int]:
    """Return the index of each frame's first fragment, as the basic offset table says; nothing if it is empty."""
    offsets = struct.unpack(f"<{table.length // 4}I", content.read(table.start, table.length // 4 * 4))
    begin = table.start + table.length + _HEAD_BYTES
    places = {fragment.start - begin: index for index, fragment in enumerate(fragments)}
    return [places[offset] for offset in offsets if offset in places]


def _by_streams(content: Content, fragments: list[Fragment]) -> list[int]:
    """Return the index of each fragment with which a stream begins."""
    return [index for index, one in enumerate(fragments) if content.read(one.start, 2) in _STREAM_STARTS]


def joined(content: Content, fragments: list[Fragment]) -> bytes:
    """Return the stream that fragments are parts of."""
    return b"".join(content.read(fragment.start, fragment.length) for fragment in fragments)
