"""When a failed item is tried again, and when it is given up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    Parameters
    ----------
    first_delay_seconds : delay after the first failure; it grows by `factor` with each further one.
    max_delay_seconds : the delay grows no further than this (before jitter).
    jitter : share by which a delay is lengthened or shortened at random (0.2: between 80 % and 120 %), so that many
        items that failed together don't come back together.
    max_attempts : give up after so many tries; None for no limit.
    max_age_seconds : give up when the item was put or replayed longer ago than this; None for no limit.

    Raises
    ------
    ValueError : a value is out of its range.
    """

    first_delay_seconds: float = 1.0
    factor: float = 2.0
    max_delay_seconds: float = 600.0
    jitter: float = 0.2
    max_attempts: int | None = 20
    max_age_seconds: float | None = None

    def __post_init__(self) -> None:
        faults = [
            (self.first_delay_seconds > 0, "first_delay_seconds must be above 0"),
            (self.factor >= 1, "factor must be at least 1"),
            (self.max_delay_seconds >= self.first_delay_seconds, "max_delay_seconds must not be below the first delay"),
            (0 <= self.jitter < 1, "jitter must be from 0 to below 1"),
            (self.max_attempts is None or self.max_attempts >= 1, "max_attempts must be at least 1"),
            (self.max_age_seconds is None or self.max_age_seconds > 0, "max_age_seconds must be above 0"),
        ]
        messages = [message for holds, message in faults if not holds]
        if messages:
            raise ValueError("; ".join(messages) + f": {self}")

    def delay_seconds(self, attempts: int) -> float:
        """Return how long to wait after the failure of try number `attempts` (1 for the first)."""
        # The exponent is bounded: 2.0 ** 2000 overflows.
        delay = min(self.first_delay_seconds * self.factor ** min(attempts - 1, 64), self.max_delay_seconds)
        return delay * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 (spreads load, keeps no secret)

    def gives_up(self, attempts: int, queued_at: datetime, now: datetime) -> bool:
        """Tell whether an item that failed `attempts` times and was put at `queued_at` is given up now."""
        if self.max_attempts is not None and attempts >= self.max_attempts:
            return True
        return self.max_age_seconds is not None and now - queued_at >= timedelta(seconds=self.max_age_seconds)
