"""Keeping to a bandwidth."""

from __future__ import annotations

import time

_UNLIMITED_BYTES_AT_ONCE = 64 * 2**20
_BURST_SECONDS = 0.1


class Pace:
    """Lets no more bytes pass than a rate allows. One thread uses it.

    Parameters
    ----------
    bytes_per_second : None for as fast as it goes.

    Attributes
    ----------
    bytes_at_once : so much may be sent before `wait` is to be asked.
    """

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate = bytes_per_second
        self._free_at = time.monotonic()
        self.bytes_at_once = (
            _UNLIMITED_BYTES_AT_ONCE if bytes_per_second is None else max(4096, int(bytes_per_second * _BURST_SECONDS))
        )

    def wait(self, sent_bytes: int) -> None:
        """Wait until what was sent is paid for."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now - _BURST_SECONDS) + sent_bytes / self._rate
        if self._free_at > now:
            time.sleep(self._free_at - now)
