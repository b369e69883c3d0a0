"""What rules do in the archive: labels. What was stored is never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pacs.errors import NotFound
from pacs.ports import Archive
from pacs.routing.actions.orders import TaskOrder, Tasks


class ArchiveTasks:
    """Handlers of `label` and `unlabel`."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def register(self, tasks: Tasks) -> None:
        """Have these kinds done here."""
        tasks.register("label", self.label)
        tasks.register("unlabel", self.unlabel)

    def label(self, order: TaskOrder) -> Mapping[str, Any]:
        """Put labels on a study. One that is gone is left alone."""
        return self._each_label(order, lambda path: self._archive.put_json(path, {}))

    def unlabel(self, order: TaskOrder) -> Mapping[str, Any]:
        """Take labels off a study."""
        return self._each_label(order, self._archive.delete)

    def _each_label(self, order: TaskOrder, change: Any) -> Mapping[str, Any]:
        try:
            for label in order.parameters["labels"]:
                change(f"/studies/{order.orthanc_study_id}/labels/{quote(label, safe='')}")
        except NotFound:
            return {"labelled": False}
        return {"labelled": True}
