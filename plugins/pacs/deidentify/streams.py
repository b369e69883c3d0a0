"""What compressed streams carry beside the picture: comments, EXIF, whatever follows their end. It is cut out.

The coded picture is not touched, so every pixel stays as it was. Sources: ITU-T T.81 annex B (JPEG), T.87 annex C
(JPEG-LS), T.800 annex A (JPEG 2000), PS3.5 annex G (RLE).
"""

from __future__ import annotations

import re
import struct

_JPEG_START = b"\xff\xd8"
_JPEG_2000_START = b"\xff\x4f"
_SOS, _SOD, _SOT, _END = 0xDA, 0x93, 0x90, 0xD9
_COMMENT = 0xFE
_MARK = 0xFF
_COMMENT_2000 = 0x64
# APP0 (JFIF) and APP14 (Adobe) say which colors these are; APP8 (SPIFF) too, of JPEG-LS.
_APPLICATION = {0xE0 + number for number in range(16)} - {0xE0, 0xE8, 0xEE}
_COLOR_SEGMENT_BYTES = {0xE0: 16, 0xE8: 34, 0xEE: 14}
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_NEXT_MARKER_LS = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
_START_OF_FRAME_LS = b"\xff\xf7"
_RLE_HEADER_BYTES = 64


class Damaged(ValueError):
    """A stream is none, or was cut."""


def without_comments(stream: bytes) -> bytes:
    """Return a JPEG, JPEG-LS or JPEG 2000 stream without what is no picture; any other stream as it is.

    Raises
    ------
    Damaged : the stream says that it is longer than it is.
    """
    try:
        if stream.startswith(_JPEG_START):
            return _jpeg(stream)
        if stream.startswith(_JPEG_2000_START):
            return _jpeg_2000(stream)
    except (struct.error, IndexError) as fault:
        raise Damaged from fault
    return stream


def _jpeg(stream: bytes) -> bytes:
    kept, place = [_JPEG_START], 2
    next_marker = _NEXT_MARKER_LS if _START_OF_FRAME_LS in stream[:4096] else _NEXT_MARKER
    while True:
        if stream[place] != _MARK:
            raise Damaged
        marker = stream[place + 1]
        if marker == _MARK:
            place += 1
            continue
        if marker == _END:
            return b"".join((*kept, stream[place : place + 2]))
        end = place + 2 + _length(stream, place)
        if marker == _SOS:
            found = next_marker.search(stream, end)
            if not found:
                raise Damaged
            end = found.start()
        if not _is_talk(marker, end - place):
            kept.append(stream[place:end])
        place = end


def _is_talk(marker: int, size_bytes: int) -> bool:
    """Tell whether a segment is no part of the picture, or is a longer one of a kind than such segments are."""
    if marker in (_COMMENT, *_APPLICATION):
        return True
    longest = _COLOR_SEGMENT_BYTES.get(marker)
    return longest is not None and size_bytes - 2 > longest


def _jpeg_2000(stream: bytes) -> bytes:
    kept, place = [_JPEG_2000_START], 2
    while True:
        marker = stream[place + 1]
        if stream[place] != _MARK:
            raise Damaged
        if marker == _END:
            return b"".join((*kept, stream[place : place + 2]))
        if marker == _SOT:
            end = _end_of_tile_part(stream, place)
            kept.append(_tile_part(stream[place:end]))
        else:
            end = place + 2 + _length(stream, place)
            if marker != _COMMENT_2000:
                kept.append(stream[place:end])
        place = end


def _end_of_tile_part(stream: bytes, place: int) -> int:
    (size_bytes,) = struct.unpack_from(">I", stream, place + 6)
    if size_bytes:
        return place + int(size_bytes)
    # The last part may say nothing of its length: it ends where the stream does.
    end = stream.rfind(b"\xff\xd9")
    if end < place:
        raise Damaged
    return end


def _tile_part(part: bytes) -> bytes:
    """Return a tile-part without comments in its header, its length told anew."""
    kept, place = [part[:12]], 12
    while part[place + 1] != _SOD:
        end = place + 2 + _length(part, place)
        if part[place + 1] != _COMMENT_2000:
            kept.append(part[place:end])
        place = end
    body = b"".join((*kept, part[place:]))
    return body[:6] + (struct.pack(">I", len(body)) if any(part[6:10]) else bytes(4)) + body[10:]


def _length(stream: bytes, place: int) -> int:
    (length,) = struct.unpack_from(">H", stream, place + 2)
    return int(length)


def without_spare_offsets(stream: bytes) -> bytes:
    """Return an RLE stream of which the header says nothing beyond its segments (PS3.5 G.5)."""
    if len(stream) < _RLE_HEADER_BYTES:
        raise Damaged
    (segments,) = struct.unpack_from("<I", stream)
    used = 4 * (1 + min(int(segments), 15))
    return stream[:used] + bytes(_RLE_HEADER_BYTES - used) + stream[_RLE_HEADER_BYTES:]
