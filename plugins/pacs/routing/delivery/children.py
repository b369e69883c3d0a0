"""The child processes that send to one target, and what is asked of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacs.ports import Json
from pacs.processes import Cancellation, Interpreter, Job, Limits, PoolPolicy, ProcessPool
from pacs.routing.orders import Transfer
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.outcome import Outcome, outcomes_after

_CHILD = "pacs.routing.senders.child"
_IDLE_SECONDS = 60.0
_JOBS_PER_CHILD = 200
_NICENESS = 5
# A study over a slow line takes hours; a child that hangs is noticed by the silence of the target.
_LONGEST_SEND_SECONDS = 48 * 3600.0
_LONGEST_QUESTION_SECONDS = 900.0
_TELL_SECONDS = 2.0

type Told = Callable[[Sequence[Outcome]], None]


@dataclass(frozen=True)
class Shipment:
    """What is to be sent.

    Attributes
    ----------
    instances : as `OutgoingInstance.as_argument` tells them.
    deidentify : what the child needs to take the identity out; None to leave it.
    """

    instances: Sequence[Mapping[str, Json]]
    transfer: Transfer
    deidentify: Mapping[str, Json] | None
    changes: Mapping[str, str]


@dataclass(frozen=True)
class Sent:
    """How a sending went.

    Attributes
    ----------
    fault : what ended it early.
    report : what de-identification changed.
    """

    seconds: float = 0.0
    fault: SendingFault | None = None
    report: Json = None


class Children:
    """Runs what sends to one target. Every method may be called from any thread, and waits."""

    def __init__(self, python: Path, folder: Path, *, size: int, memory_bytes: int, threads: int) -> None:
        limits = Limits(memory_bytes=memory_bytes, niceness=_NICENESS, cpu_threads=1, open_files=1024)
        policy = PoolPolicy(
            size=size, max_jobs_per_child=_JOBS_PER_CHILD, idle_seconds=_IDLE_SECONDS, preload=(_CHILD,)
        )
        interpreter = Interpreter(python, (Path(__file__).parents[3],))
        self._pool = ProcessPool(interpreter, folder, limits=limits, policy=policy)
        self._threads = threads

    def send(self, target: Json, shipment: Shipment, journal: Path, told: Told, cancellation: Cancellation) -> Sent:
        """Send.

        Parameters
        ----------
        told : called now and then, and at the end whatever way it comes, with what came of instances.

        Raises
        ------
        ProcessError : the child ended; `told` was called with all that it had done.
        """
        reading = _Reading(journal, told)
        arguments = {
            "target": target,
            "instances": list(shipment.instances),
            "transfer": {"syntax": shipment.transfer.syntax, "quality": shipment.transfer.quality},
            "deidentify": shipment.deidentify,
            "changes": dict(shipment.changes),
            "journal": str(journal),
            "threads": self._threads,
        }
        job = Job(function=f"{_CHILD}:send", arguments=arguments, wall_seconds=_LONGEST_SEND_SECONDS)
        try:
            answer = self._pool.run(job, on_progress=reading.now_and_then, cancellation=cancellation)
        finally:
            reading.read()
        return Sent(float(answer["seconds"]), _fault(answer), answer.get("report"))

    def found(self, target: Json, wanted: Sequence[tuple[str, str, str]]) -> set[str]:
        """Return which of `wanted` (study, series, instance) the target says it has.

        Raises
        ------
        SendingFault, ProcessError : it could not be asked.
        """
        return set(self._asked("prove", target, wanted=[list(one) for one in wanted])["found"])

    def test(self, target: Json) -> None:
        """Try whether the target is there and lets us in. Raises as `found`."""
        self._asked("test", target)

    def ask(self, function: str, target: Json, **arguments: Json) -> Json:
        """Run another function of a module below `pacs.routing` with the target. Raises as `found`."""
        job = Job(function=function, arguments={"target": target, **arguments}, wall_seconds=_LONGEST_QUESTION_SECONDS)
        answer = self._pool.run(job)
        fault = _fault(answer)
        if fault is not None:
            raise fault
        return answer

    def stop(self, timeout_seconds: float) -> None:
        """End the children."""
        self._pool.stop(timeout_seconds)

    def _asked(self, function: str, target: Json, **arguments: Json) -> Any:
        return self.ask(f"{_CHILD}:{function}", target, **arguments)


class _Reading:
    """Reads a journal while the child writes it."""

    def __init__(self, path: Path, told: Told) -> None:
        self._path = path
        self._told = told
        self._offset = 0
        self._again_at = time.monotonic() + _TELL_SECONDS

    def now_and_then(self, _fraction: float, _stage: str) -> None:
        if time.monotonic() >= self._again_at:
            self.read()
            self._again_at = time.monotonic() + _TELL_SECONDS

    def read(self) -> None:
        outcomes, offset = outcomes_after(self._path, self._offset)
        if outcomes:
            self._told(outcomes)
        # Only now: what could not be written down is told again.
        self._offset = offset


def _fault(answer: Json) -> SendingFault | None:
    told = answer.get("fault")
    if told is None:
        return None
    return SendingFault(FaultKind(told["kind"]), told["message"], remedy=told["remedy"])
