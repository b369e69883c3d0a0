"""What a person is shown before a model is made: what a series holds, its histogram, a coarse model at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from pacs.mesh.errors import MeshError
from pacs.mesh.jobs.looks import SeriesLook
from pacs.mesh.jobs.making import CHILD
from pacs.mesh.jobs.sources import SourceFinder, Sources
from pacs.mesh.recipe import Recipe
from pacs.metrics import Metrics
from pacs.ports import Json
from pacs.processes import Job, ProcessPool
from pacs.processes.scratch import Scratch, remove_tree

_KEPT_LOOKS = 200
# Histograms and previews at a time, the one being made included: who asks holds a thread of the pages.
_MOST_ASKING = 4
_LOOK_SECONDS = 120.0
_SECONDS_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)


class TooManyAsking(MeshError):
    """As many people look at series as can."""

    code = "mesh-busy"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class Lookout:
    """Looks at series in a warm child, which keeps the last volumes it read. May be called from any thread; it waits.

    Every method raises `MeshError`s as `ProcessError`s with their words, for what can't be made into a model.
    """

    def __init__(self, finder: SourceFinder, pool: ProcessPool, scratch: Scratch, metrics: Metrics) -> None:
        self._finder = finder
        self._pool = pool
        self._scratch = scratch
        self._looks: OrderedDict[tuple[str, str | None], SeriesLook] = OrderedDict()
        self._lock = threading.Lock()
        self._asking = threading.BoundedSemaphore(_MOST_ASKING)
        text = "Time until a series was looked at or a coarse model was there, in seconds."
        self._seconds = metrics.histogram("pacs_mesh_look_seconds", text, ("task",), buckets=_SECONDS_BUCKETS)

    def look(self, identifier: str, sub_volume: str | None = None) -> tuple[Sources, SeriesLook]:
        """Return a series with what it needs beside it, and what it holds.

        Raises
        ------
        NotFound, InvalidInput : it is not there, or the images that contours belong to are not.
        ProcessError : no volume can be made of it.
        """
        sources = self._finder.named(identifier)
        look = self._look(sources, sub_volume)
        if look.images is not None:
            images = look.images
            sources = self._finder.with_images(sources, images)
            look = self._look(sources, sub_volume).model_copy(update={"images": images})
        return sources, look

    def histogram(self, identifier: str, sub_volume: str | None) -> Json:
        """Return how often each value is in the volume, see `pacs.mesh.tissue`."""
        sources, _ = self.look(identifier, sub_volume)
        with self._turn():
            return self._run("histogram", sources, sub_volume=sub_volume)

    def preview(self, identifier: str, recipe: Recipe) -> bytes:
        """Return a coarse model as GLB, for the eye alone."""
        sources, _ = self.look(identifier, recipe.sub_volume)
        folder = self._scratch.new_folder()
        try:
            target = folder / "preview.glb"
            sources = self._finder.with_masks(sources, recipe)
            with self._turn():
                self._run("preview_model", sources, recipe=recipe.model_dump(mode="json"), target=str(target))
            return target.read_bytes()
        finally:
            remove_tree(folder)

    def _look(self, sources: Sources, sub_volume: str | None) -> SeriesLook:
        key = (sources.digest, sub_volume)
        with self._lock:
            if key in self._looks:
                self._looks.move_to_end(key)
                return self._looks[key]
        look = SeriesLook.model_validate(
            self._run("look", sources, sub_volume=sub_volume, modality=sources.named.modality)
        )
        with self._lock:
            self._looks[key] = look
            while len(self._looks) > _KEPT_LOOKS:
                self._looks.popitem(last=False)
        return look

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._asking.acquire(blocking=False):
            raise TooManyAsking("Others look at series right now.", remedy="Try again in a moment.")
        try:
            yield
        finally:
            self._asking.release()

    def _run(self, task: str, sources: Sources, **arguments: Any) -> Json:
        with self._finder.opened(sources) as files, self._seconds.labels(task).time():
            told = {**files, "content": sources.digest, **arguments}
            return self._pool.run(Job(function=f"{CHILD}:{task}", arguments=told, wall_seconds=_LOOK_SECONDS))
