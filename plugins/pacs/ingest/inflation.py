"""Deflated data, counted before it is held: a bomb is known by its size while it costs a mebibyte."""

from __future__ import annotations

import zlib

MEBIBYTE = 1024 * 1024
# An image of one color packs a thousand times; whatever does so beyond this size is no image.
MOST_RATIO = 200
RATIO_FLOOR_BYTES = 256 * MEBIBYTE
GZIP, RAW_DEFLATE = 31, -15


class InflatesTooFar(Exception):
    """The data would inflate to more than is allowed."""


def inflate(packed: bytes | memoryview, wbits: int, limit_bytes: int) -> tuple[bytes, bool]:
    """Return what `packed` inflates to, and whether its stream came to its end.

    Parameters
    ----------
    wbits : kind of the stream, `GZIP` or `RAW_DEFLATE`.

    Raises
    ------
    InflatesTooFar : to more than `limit_bytes`, or to a great size from next to nothing. Known after a mebibyte each.
    zlib.error : it is no such stream.
    """
    _count(packed, wbits, limit_bytes)
    inflater = zlib.decompressobj(wbits)
    return inflater.decompress(packed, limit_bytes), inflater.eof


def _count(packed: bytes | memoryview, wbits: int, limit_bytes: int) -> None:
    inflater = zlib.decompressobj(wbits)
    allowed = min(limit_bytes, max(RATIO_FLOOR_BYTES, MOST_RATIO * len(packed)))
    count, rest = 0, packed
    while chunk := inflater.decompress(rest, MEBIBYTE):
        count, rest = count + len(chunk), inflater.unconsumed_tail
        if count > allowed:
            raise InflatesTooFar
