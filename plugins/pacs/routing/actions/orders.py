"""`Tasks`: what rules have done beside deliveries, in one durable queue; each kind has its handler."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.routing.rules.figures import RuleFigures
from pacs.routing.rules.ruleset import Subject
from pacs.routing.rules.tasks import Task
from pacs.work import Claim, GiveBack, LeaseLost, QueueWorker, Reject, RetryPolicy, StateConflict, Supervisor, WorkQueue
from pacs.work.models import WorkItemRecord
from pacs.work.states import WorkState

QUEUE_NAME = "routing actions"
# What was done is known for so long, and is not done again when a late image makes the study stable once more.
KEEP_DAYS = 30
# Kinds that add what is lacking when they are done again, and nothing else.
REPEATED = frozenset({"set"})
_POLICY = RetryPolicy(max_attempts=None, max_age_seconds=3 * 24 * 3600)
_THREADS = 2
# Each takes away what the other puts there.
_LABELS = frozenset({"label", "unlabel"})


@dataclass(frozen=True)
class TaskOrder:
    """One thing to do with one study or series.

    Attributes
    ----------
    parameters : as `rules.tasks.Task` has them.
    actor : who has it done by hand, "" for the rule by itself.
    """

    kind: str
    rule: str
    orthanc_study_id: str
    study_instance_uid: str
    orthanc_series_id: str | None
    parameters: Mapping[str, Any]
    actor: str = ""


# What it raises decides, as with every queue; it bears being called twice.
type TaskHandler = Callable[[TaskOrder], Mapping[str, Any] | None]


class Tasks:
    """The queue of tasks. Safe to use from any thread.

    Attributes
    ----------
    queue : payload: a `TaskOrder`; key: what is done one after the other. What keeps failing holds up its like alone.
    """

    def __init__(self, database: Database, figures: RuleFigures) -> None:
        self.queue = WorkQueue(database, QUEUE_NAME, policy=_POLICY)
        self._figures = figures
        self._handlers: dict[str, TaskHandler] = {}

    def register(self, kind: str, handler: TaskHandler) -> None:
        """Have `handler` do what is of this kind. Before the threads run."""
        self._handlers[kind] = handler

    def put(
        self, session: Session, subject: Subject, rule: str, task: Task, *, occasion: str = "", actor: str = ""
    ) -> int:
        """Put a task, in the caller's transaction: once a study, rule and `occasion`; "" for ever new ones.

        Returns
        -------
        The item's identifier in the queue.
        """
        order = TaskOrder(task.kind, rule, *_names(subject), task.parameters)
        payload = asdict(order) | {"parameters": dict(task.parameters)}
        del payload["actor"]
        dedupe = _digest(payload | {"occasion": occasion}) if occasion else None
        key = _key(subject.orthanc_study_id, task)
        return self.queue.put(payload | {"actor": actor}, key=key, dedupe=dedupe, session=session)

    def withdraw(self, session: Session, orthanc_study_id: str, task: Task) -> None:
        """Have all of its kind and key undone that was ordered so far, and given up: nobody plays it again by mistake.

        What is in work is asked to end; what is put next waits for that, and for no other try.
        """
        item = WorkItemRecord
        ours = select(item.id, item.state, item.payload).where(
            item.queue == self.queue.name,
            item.ordering_key == _key(orthanc_study_id, task),
            or_(text("holds_key"), item.state == WorkState.FAILED.value),
        )
        for item_id, state, payload in session.execute(ours).all():
            if payload["kind"] == task.kind:
                # One that ended at this very moment holds up nothing.
                with suppress(StateConflict):
                    end = self.queue.skip if state == WorkState.FAILED else self.queue.cancel
                    end(item_id, session=session)

    def work(self, claim: Claim) -> Mapping[str, Any] | None:
        """Do one task. The handler of the queue."""
        order = TaskOrder(**claim.item.payload)
        try:
            return self._done(order)
        except (GiveBack, LeaseLost):
            raise
        except Exception as error:
            now = self.queue.clock()
            if isinstance(error, Reject) or _POLICY.gives_up(claim.item.attempts, claim.item.queued_at, now):
                self._figures.failed(order.rule, order.kind)
            raise

    def _done(self, order: TaskOrder) -> Mapping[str, Any] | None:
        handler = self._handlers.get(order.kind)
        if handler is None:
            raise Reject(
                f'Nothing here does "{order.kind}". Look at the settings of what rule "{order.rule}" asks for.'
            )
        return handler(order)

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the threads."""
        QueueWorker(self.queue, self.work, threads=_THREADS, keep_days=KEEP_DAYS).add_to(supervisor)


def _names(subject: Subject) -> tuple[str, str, str | None]:
    return subject.orthanc_study_id, subject.study_instance_uid, subject.orthanc_series_id


def _key(orthanc_study_id: str, task: Task) -> str:
    """Return what tasks share that are done one after the other: one copy, a study's labels, else all that they say."""
    if task.kind in _LABELS:
        return f"{orthanc_study_id} labels"
    if "changes" in task.parameters:
        return f"{orthanc_study_id} copy {_digest(task.parameters['changes'])}"
    return f"{orthanc_study_id} {task.kind} {_digest(task.parameters)}"


def _digest(payload: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(payload), sort_keys=True).encode()).hexdigest()
