"""Saves a finished model in its study, as DICOM: a child encapsulates the files, Orthanc stores them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacs.errors import NotFound
from pacs.mesh.jobs.making import CHILD, ModelMaker
from pacs.mesh.jobs.orders import Order
from pacs.mesh.jobs.progress import JobProgress
from pacs.mesh.jobs.shelf import REPORT, Shelf
from pacs.ports import Archive, Json
from pacs.processes import Cancellation, Job, ProcessPool

_SECONDS = 600.0
_ENCAPSULATED_SHARE = 0.6
_log = logging.getLogger(__name__)


class StudySaver:
    """Does orders of the kind `SAVE`. May be called from any thread.

    Done twice it makes the same instances, which Orthanc stores once.
    """

    def __init__(self, archive: Archive, shelf: Shelf, maker: ModelMaker, pool: ProcessPool) -> None:
        self._archive = archive
        self._shelf = shelf
        self._maker = maker
        self._pool = pool

    def save(self, order: Order, progress: JobProgress, cancellation: Cancellation) -> Mapping[str, Any]:
        """Store the model in the study.

        Raises
        ------
        NotFound : model or series is gone.
        ArchiveError : Orthanc did not take it.
        """
        shelved = self._shelf.find(order.model)
        if shelved is None:
            raise NotFound("The model is not kept any more.", remedy="Order it again, then save it.")
        with self._shelf.place() as place:
            self._encapsulate(order, shelved.folder, place, progress, cancellation)
            files = sorted(place.iterdir())
            stored = []
            for number, path in enumerate(files):
                progress(_ENCAPSULATED_SHARE + (1 - _ENCAPSULATED_SHARE) * number / len(files), "storing")
                stored.append(self._store(path))
        _log.info("the model %s was saved as %d instances by %s", order.model, len(stored), order.actor)
        return {"model": order.model, "instances": stored}

    def _encapsulate(
        self, order: Order, folder: Path, place: Path, progress: JobProgress, cancellation: Cancellation
    ) -> None:
        sources = self._maker.sources(order)
        with self._maker.opened(sources) as files:
            arguments = {
                **files,
                "model": order.model,
                "folder": str(folder),
                "report": REPORT,
                "formats": [one.value for one in order.formats],
                "place": str(place),
            }
            job = Job(function=f"{CHILD}:encapsulate", arguments=arguments, wall_seconds=_SECONDS)
            self._pool.run(
                job,
                on_progress=lambda fraction, stage: progress(_ENCAPSULATED_SHARE * fraction, stage),
                cancellation=cancellation,
            )

    def _store(self, path: Path) -> str:
        answer: Json = self._archive.post_bytes("/instances", path.read_bytes())
        return str(answer["ID"])
