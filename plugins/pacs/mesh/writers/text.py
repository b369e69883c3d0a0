"""Numbers as text, many at once: one format call for a block of rows is several times faster than one for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

_AT_ONCE = 20_000


def lines(row: str, values: NDArray[Any]) -> Iterator[bytes]:
    """Yield the rows of `values` (n, columns), each written by the %-format `row`, in blocks."""
    for first in range(0, len(values), _AT_ONCE):
        block = values[first : first + _AT_ONCE]
        yield (row * len(block) % tuple(block.reshape(-1).tolist())).encode()
