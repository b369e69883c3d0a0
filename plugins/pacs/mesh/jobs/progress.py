"""How far a job is, told to whoever asks and kept from one try to the next."""

from __future__ import annotations

import time
from typing import Any

from pacs.processes import Cancellation
from pacs.work import Claim

_EVERY_SECONDS = 0.4
_CRASHES = "crashes"


class JobProgress:
    """Writes the progress of one claim to its row, not too often; learns there of a cancellation.

    Parameters
    ----------
    cancellation : cancelled when the job shall end, wherever it was asked for.
    """

    def __init__(self, claim: Claim, cancellation: Cancellation) -> None:
        self._claim = claim
        self._cancellation = cancellation
        self.crashes = int((claim.item.progress or {}).get(_CRASHES, 0))
        self._told: tuple[float, str] = (0.0, "")

    def __call__(self, fraction: float, stage: str) -> None:
        """Tell a fraction (0 to 1) and a stage. Raises LeaseLost when the job is another worker's now."""
        moment, (last, last_stage) = time.monotonic(), self._told
        if stage == last_stage and moment - last < _EVERY_SECONDS:
            return
        self._told = (moment, stage)
        self._write({"fraction": round(fraction, 3), "stage": stage})

    def failed(self, code: str) -> None:
        """Keep the code of the fault that ends the job."""
        self._write({"code": code})

    def crashed(self) -> None:
        """Keep that a process died over it."""
        self.crashes += 1
        self._write({})

    def _write(self, words: dict[str, Any]) -> None:
        self._claim.report_progress({_CRASHES: self.crashes, **words})
        if self._claim.stop_requested:
            self._cancellation.cancel()
