"""The pace of the work behind the acknowledgments: it steps back while senders wait for nothing but us.

A hospital sends some messages a second and never notices. Where senders say the next thing as soon as they have their
answer, as when a HIS was away for a day, the work would take the processor and, on SQLite, the turn to write from the
answers: it goes on in short slices then, and catches up afterwards.
"""

from __future__ import annotations

import time

_BUSY_PER_SECOND = 100.0
_WINDOW_SECONDS = 0.1
_STEP_SECONDS = 0.01
_MOST_WAIT_SECONDS = 0.25
_SLICE_SECONDS = 0.01


class Pace:
    """Told by the thread that hears from the receiver, asked by the workers'."""

    def __init__(self) -> None:
        self._window_began = 0.0
        self._count = 0
        self._busy_until = 0.0
        self._slice_until = 0.0

    def note(self, count: int) -> None:
        """Count messages that came in just now, from senders that wait for us. Called from one thread."""
        now = time.monotonic()
        if now - self._window_began > _WINDOW_SECONDS:
            self._window_began, self._count = now, 0
        self._count += count
        if self._count > _BUSY_PER_SECOND * _WINDOW_SECONDS:
            self._busy_until = now + _WINDOW_SECONDS

    @property
    def is_pressed(self) -> bool:
        """Whether senders wait for us now."""
        return time.monotonic() < self._busy_until

    def step_back(self) -> None:
        """Wait while senders wait, not for long, and then let everyone who asks work for a slice of time."""
        give_up_at = time.monotonic() + _MOST_WAIT_SECONDS
        while (now := time.monotonic()) < self._busy_until and now > self._slice_until:
            if now > give_up_at:
                self._slice_until = now + _SLICE_SECONDS
                return
            time.sleep(_STEP_SECONDS)
