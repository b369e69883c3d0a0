"""Durable work queues and the threads that work them.

Everything that must not be lost (a message in, a delivery out, a job) is an item of a `WorkQueue` before it is
acknowledged or tried.
"""

from pacs.work.claim import Claim
from pacs.work.collector import WorkCollector
from pacs.work.items import NewItem, PutResult, WorkItem
from pacs.work.queue import WorkEvent, WorkQueue
from pacs.work.retry import RetryPolicy
from pacs.work.settling import Outcome
from pacs.work.signals import GiveBack, LeaseLost, Reject, Retry, StateConflict
from pacs.work.states import WorkState
from pacs.work.supervisor import Supervisor, ThreadState, ThreadStatus
from pacs.work.worker import QueueWorker

__all__ = [
    "Claim",
    "GiveBack",
    "LeaseLost",
    "NewItem",
    "Outcome",
    "PutResult",
    "QueueWorker",
    "Reject",
    "Retry",
    "RetryPolicy",
    "StateConflict",
    "Supervisor",
    "ThreadState",
    "ThreadStatus",
    "WorkCollector",
    "WorkEvent",
    "WorkItem",
    "WorkQueue",
    "WorkState",
]
