"""Makes a model: files in, a child at work within its share of memory, the result on the shelf."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from pacs.mesh.jobs.memory import MemoryBudget
from pacs.mesh.jobs.orders import Order
from pacs.mesh.jobs.progress import JobProgress
from pacs.mesh.jobs.shelf import Shelf, shelf_key
from pacs.mesh.jobs.sources import SourceFinder, Sources
from pacs.mesh.report import Report
from pacs.ports import Json
from pacs.processes import Cancellation, Job, ProcessPool

CHILD = "pacs.mesh.jobs.child"
PRELOADED = ("pacs.mesh.jobs.tolerance", CHILD)


class ModelMaker:
    """Does orders of the kind `MODEL`. May be called from any thread.

    Parameters
    ----------
    seconds : time for one model.
    """

    def __init__(
        self, finder: SourceFinder, shelf: Shelf, budget: MemoryBudget, pool: ProcessPool, seconds: float
    ) -> None:
        self._finder = finder
        self._shelf = shelf
        self._budget = budget
        self._pool = pool
        self._seconds = seconds

    def sources(self, order: Order) -> Sources:
        """Return what the model of an order is made of, as the archive has it now. Raises as `SourceFinder`."""
        sources = self._finder.named(order.series.orthanc_series_id)
        if order.images is not None:
            sources = self._finder.with_images(sources, order.images)
        return self._finder.with_masks(sources, order.recipe)

    def opened(self, sources: Sources) -> AbstractContextManager[dict[str, Json]]:
        """Give the files of sources as arguments for a child, see `SourceFinder.opened`."""
        return self._finder.opened(sources)

    def make(self, order: Order, progress: JobProgress, cancellation: Cancellation) -> Mapping[str, Any]:
        """Make the model unless it is there.

        Raises
        ------
        PacsError : it can't be made; `ProcessError` where the child did not live to tell.
        """
        sources = self.sources(order)
        key = shelf_key(sources.named.orthanc_series_id, sources.digest, order.recipe)
        if self._shelf.find(key) is not None:
            return {"model": key, "cached": True}
        # After a child died over it, whatever memory there is: it may have been too little.
        needed_bytes = self._budget.total_bytes if progress.crashes else order.needed_bytes
        with self._budget.reserved(needed_bytes, cancellation) as granted_bytes, self._shelf.place() as place:
            with self._finder.opened(sources) as files:
                told = {**files, "recipe": order.recipe.model_dump(mode="json"), "place": str(place)}
                job = Job(
                    function=f"{CHILD}:make", arguments=told, wall_seconds=self._seconds, memory_bytes=granted_bytes
                )
                report = Report.model_validate(self._pool.run(job, on_progress=progress, cancellation=cancellation))
            self._shelf.put(key, place, report)
        return {"model": key, "cached": False}
