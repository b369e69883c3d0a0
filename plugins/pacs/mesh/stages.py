"""The stages of a model in the making: how far it is, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class Stage(StrEnum):
    """What is being done."""

    READING = "reading"
    SELECTING = "selecting"
    SURFACE = "surface"
    SMOOTHING = "smoothing"
    REDUCING = "reducing"
    CHECKING = "checking"
    WRITING = "writing"


# Share of the whole time, as measured on a CT of 400 slices.
_SHARES = {
    Stage.READING: 0.15,
    Stage.SELECTING: 0.05,
    Stage.SURFACE: 0.25,
    Stage.SMOOTHING: 0.15,
    Stage.REDUCING: 0.3,
    Stage.CHECKING: 0.05,
    Stage.WRITING: 0.05,
}


class Stages:
    """Tells progress of a model of `parts` parts, never backward.

    Attributes
    ----------
    seconds : time of each stage, all parts together.
    """

    def __init__(self, progress: Callable[[str, float], None], parts: int) -> None:
        self._progress = progress
        self._parts = parts
        self._done = 0.0
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, stage: Stage, *, of_part: bool = True) -> Iterator[Callable[[float], None]]:
        """Time what runs in the block, and give what to call with the fraction of it that is done.

        Parameters
        ----------
        of_part : it is done once for each part, not once for all.
        """
        share, begin, started = _SHARES[stage] / (self._parts if of_part else 1), self._done, time.perf_counter()
        self._progress(stage.value, begin)
        try:
            yield lambda fraction: self._progress(stage.value, begin + share * min(max(fraction, 0.0), 1.0))
        finally:
            took = time.perf_counter() - started
            self.seconds[stage.value] = round(self.seconds.get(stage.value, 0.0) + took, 4)
        self._done = begin + share
