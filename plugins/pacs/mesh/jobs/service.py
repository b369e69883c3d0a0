"""`Models`: 3D models as the rest of the program has them, put together for the application."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path

from pacs.database import Database
from pacs.errors import InvalidInput, NotFound
from pacs.mesh.errors import MeshError
from pacs.mesh.jobs.collector import ModelCollector
from pacs.mesh.jobs.looking import Lookout
from pacs.mesh.jobs.making import PRELOADED, ModelMaker
from pacs.mesh.jobs.memory import MemoryBudget
from pacs.mesh.jobs.orders import ModelJob, Order, OrderKind, SeriesNote
from pacs.mesh.jobs.saving import StudySaver
from pacs.mesh.jobs.shelf import Shelf, ShelvedModel
from pacs.mesh.jobs.sources import SourceFinder
from pacs.mesh.jobs.tidying import Tidying
from pacs.mesh.jobs.working import ModelWorker
from pacs.mesh.recipe import Coordinates, Format, Recipe
from pacs.mesh.settings import MeshSettings
from pacs.metrics import Metrics
from pacs.ports import Archive, Change
from pacs.processes import Interpreter, Limits, PoolPolicy, ProcessPool
from pacs.processes.scratch import Scratch
from pacs.studies.instance_files import InstanceFiles
from pacs.work import QueueWorker, RetryPolicy, Supervisor, WorkQueue, WorkState
from pacs.work.states import PENDING

QUEUE_NAME = "mesh"
# A job of an Orthanc that was killed is taken up after so long.
_LEASE_SECONDS = 20.0
_POLICY = RetryPolicy(first_delay_seconds=2.0, max_delay_seconds=60.0, max_attempts=10)
_IDLE_SECONDS = 300.0
_JOBS_PER_CHILD = 200
_POLL_SECONDS = 0.2
# Somebody waits for a preview: it gives way by a part of what models do.
_LOOKING_SHARE = 0.3
_log = logging.getLogger(__name__)


class TooManyWaiting(MeshError):
    """More jobs wait than are taken."""

    code = "mesh-too-many-waiting"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class Models:
    """Orders of 3D models, their making, and the shelf of finished ones. Every method may be called from any thread.

    Parameters
    ----------
    storage_directory : Orthanc's, which the children read.
    temporary_directory : on the volume of the data.
    python : the interpreter of the children.

    Attributes
    ----------
    lookout : what can be shown before a model is made.
    queues : for the figures about queues.
    """

    def __init__(
        self,
        settings: MeshSettings,
        database: Database,
        archive: Archive,
        metrics: Metrics,
        *,
        storage_directory: Path,
        temporary_directory: Path,
        python: Path,
    ) -> None:
        self._settings = settings
        self._queue = WorkQueue(database, QUEUE_NAME, policy=_POLICY, lease_seconds=_LEASE_SECONDS)
        self.queues = (self._queue,)
        folder = temporary_directory / "mesh"
        interpreter = Interpreter(python, (Path(__file__).parents[3],))
        new_pool = partial(_new_pool, interpreter, folder, settings)
        self._making, self._looking = new_pool(settings.workers), new_pool(1, _LOOKING_SHARE)
        self._scratch = Scratch(folder)
        self._shelf = Shelf(settings.folder)
        self._budget = MemoryBudget(settings.budget_bytes, settings.workers)
        finder = SourceFinder(archive, InstanceFiles(archive, storage_directory, self._scratch))
        self.lookout = Lookout(finder, self._looking, self._scratch, metrics)
        self._maker = ModelMaker(finder, self._shelf, self._budget, self._making, settings.seconds)
        saver = StudySaver(archive, self._shelf, self._maker, self._making)
        self._worker = ModelWorker({OrderKind.MODEL: self._maker.make, OrderKind.SAVE: saver.save}, metrics)
        self._tidying = Tidying(archive, self._queue, self._shelf, settings)
        metrics.registry.register(ModelCollector(self._making, self._looking, self._budget, self._shelf))

    def order(self, identifier: str, recipe: Recipe, actor: str) -> ModelJob:
        """Put a job for a model of a series; it is durable on return.

        Parameters
        ----------
        identifier : Orthanc's identifier or the SeriesInstanceUID.
        actor : who orders it, as histories write it.

        Raises
        ------
        NotFound, InvalidInput : the series, or what it refers to, is not in the archive.
        MeshTooLarge : it would need more memory than there is; with the numbers.
        ProcessError : no volume can be made of it; speaks as the `MeshError` of the reason.
        TooManyWaiting : the queue is full.
        """
        self._check_room()
        sources, look = self.lookout.look(identifier, recipe.sub_volume)
        self._budget.check(look.needed_bytes, look.volume_bytes)
        order = Order(
            kind=OrderKind.MODEL,
            series=SeriesNote.of(sources.named),
            images=look.images,
            recipe=recipe,
            actor=actor,
            needed_bytes=look.needed_bytes,
        )
        # The same model ordered twice is made once: the second waits for the first and finds it.
        return self._put(order, key=f"{sources.digest} {recipe.digest}")

    def save(self, job_id: int, formats: Sequence[Format], actor: str) -> ModelJob:
        """Put a job that saves a finished model in its study, as DICOM.

        Raises
        ------
        NotFound : there is no such job, or its model is not kept any more.
        InvalidInput : it is in RAS: in the frame of reference of the images it would lie turned.
        """
        job = self.get(job_id)
        if job.order.recipe.coordinates is not Coordinates.LPS:
            raise InvalidInput(
                f"Models in a study are in LPS, but that of job {job_id} is in {job.order.recipe.coordinates}.",
                remedy="Order it in LPS, then save it.",
            )
        self.shelved(job)
        return self._put(
            Order(
                kind=OrderKind.SAVE,
                series=job.order.series,
                images=job.order.images,
                recipe=job.order.recipe,
                actor=actor,
                model=job.model,
                formats=tuple(formats),
            ),
            key=job.model,
        )

    def get(self, job_id: int) -> ModelJob:
        """Return a job. Raises NotFound."""
        return ModelJob.of(self._queue.get(job_id))

    def latest(self, most: int = 50) -> list[ModelJob]:
        """Return the newest jobs for models."""
        jobs = map(ModelJob.of, self._queue.list_items(*WorkState, most=2 * most))
        return [job for job in jobs if job.order.kind is OrderKind.MODEL][:most]

    def ahead_of(self, job: ModelJob) -> int:
        """Return how many jobs are worked before a waiting one."""
        waiting = self._queue.list_items(*PENDING, most=self._settings.most_waiting)
        return sum(1 for item in waiting if item.id < job.job_id)

    def shelved(self, job: ModelJob) -> ShelvedModel:
        """Return the finished model of a job.

        Raises
        ------
        NotFound : there is none, not yet or not any more.
        """
        found = self._shelf.find(job.model) if job.model else None
        if found is None:
            raise NotFound(
                f"Job {job.job_id} has no model: it is {job.state}."
                if not job.model
                else f"The model of job {job.job_id} is not kept any more.",
                remedy="Order it again." if job.is_over else "Wait until it is done.",
            )
        return found

    def cancel(self, job_id: int, actor: str) -> ModelJob:
        """Withdraw a job. Raises NotFound, or StateConflict for one that is over."""
        self._queue.cancel(job_id)
        self._worker.cancel(job_id)
        _log.info("3D job %d cancelled by %s", job_id, actor)
        return self.get(job_id)

    def wait(self, job_id: int, timeout_seconds: float) -> ModelJob:
        """Wait until a job is over, this long at most, and return it."""
        give_up_at = time.monotonic() + timeout_seconds
        while not (job := self.get(job_id)).is_over and time.monotonic() < give_up_at:
            time.sleep(_POLL_SECONDS)
        return job

    def notice(self, change: Change) -> None:
        """Take note of a deletion: no model outlives its series. Called from Orthanc's own thread."""
        self._tidying.notice(change)

    def add_to(self, supervisor: Supervisor) -> None:
        """Add the threads."""
        worker = QueueWorker(
            self._queue, self._worker.handle, threads=self._settings.workers, keep_days=self._settings.keep_days
        )
        worker.add_to(supervisor)
        supervisor.add("mesh tidying", self._tidying.run)

    def stop(self, timeout_seconds: float) -> None:
        """End the children; what they worked on waits for the next start."""
        stopping = threading.Thread(target=self._looking.stop, args=(timeout_seconds,))
        stopping.start()
        self._making.stop(timeout_seconds)
        stopping.join()
        self._scratch.close()
        self._shelf.close()

    def _check_room(self) -> None:
        counts = self._queue.counts()
        waiting = sum(counts[state] for state in PENDING)
        if waiting >= self._settings.most_waiting:
            raise TooManyWaiting(f"{waiting} 3D jobs wait already.", remedy="Try again when some are done.")

    def _put(self, order: Order, key: str) -> ModelJob:
        job_id = self._queue.put(order.model_dump(mode="json"), key=key)
        _log.info(
            "3D job %d (%s) ordered by %s for series %s",
            job_id, order.kind, order.actor, order.series.orthanc_series_id,
        )  # fmt: skip
        return self.get(job_id)


def _new_pool(
    interpreter: Interpreter, folder: Path, settings: MeshSettings, size: int, share: float = 1.0
) -> ProcessPool:
    limits = Limits(
        memory_bytes=settings.budget_bytes,
        niceness=round(share * settings.niceness),
        cpu_threads=os.process_cpu_count() or 1,
        open_files=4096,
    )
    policy = PoolPolicy(size=size, max_jobs_per_child=_JOBS_PER_CHILD, idle_seconds=_IDLE_SECONDS, preload=PRELOADED)
    return ProcessPool(interpreter, folder, limits=limits, policy=policy)
