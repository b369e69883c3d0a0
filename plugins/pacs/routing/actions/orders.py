"""`Tasks`: what rules have done beside deliveries, in one durable queue; each kind has its handler."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from pacs.database import Database
from pacs.routing.rules.figures import RuleFigures
from pacs.routing.rules.ruleset import Subject
from pacs.routing.rules.tasks import Task
from pacs.work import Claim, GiveBack, LeaseLost, QueueWorker, Reject, RetryPolicy, Supervisor, WorkQueue

QUEUE_NAME = "routing actions"
# What was done is known for so long, and is not done again when a late image makes the study stable once more.
KEEP_DAYS = 30
# Kinds that add what is lacking when they are done again, and nothing else.
REPEATED = frozenset({"set"})
_POLICY = RetryPolicy(max_attempts=None, max_age_seconds=3 * 24 * 3600)
_THREADS = 2


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
    queue : payload: a `TaskOrder`, key: the study.
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
        return self.queue.put(payload | {"actor": actor}, key=subject.orthanc_study_id, dedupe=dedupe, session=session)

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


def _digest(payload: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()
