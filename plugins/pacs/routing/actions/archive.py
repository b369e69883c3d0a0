"""What rules do in the archive: labels, and copies with other attributes. What was stored is never changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pacs.errors import NotFound
from pacs.ports import Archive
from pacs.routing.actions.orders import TaskOrder, Tasks

# Orthanc writes it at what it made of something else.
_MADE_OF = "ModifiedFrom"


class ArchiveTasks:
    """Handlers of `label`, `unlabel` and `set`."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def register(self, tasks: Tasks) -> None:
        """Have these kinds done here."""
        tasks.register("label", self.label)
        tasks.register("unlabel", self.unlabel)
        tasks.register("set", self.set)

    def label(self, order: TaskOrder) -> Mapping[str, Any]:
        """Put labels on a study. One that is gone is left alone."""
        return self._each_label(order, lambda path: self._archive.put_json(path, {}))

    def unlabel(self, order: TaskOrder) -> Mapping[str, Any]:
        """Take labels off a study."""
        return self._each_label(order, self._archive.delete)

    def set(self, order: TaskOrder) -> Mapping[str, Any]:
        """Store a copy of a study with other attributes, under new UIDs; never a copy of such a copy."""
        path = f"/studies/{order.orthanc_study_id}"
        try:
            if _MADE_OF in self._archive.get_json(f"{path}/metadata"):
                return {"copied": False, "reason": "it is a copy itself"}
            made = self._archive.post_json(
                f"{path}/modify",
                {"Replace": dict(order.parameters["changes"]), "KeepSource": True, "Force": False, "Synchronous": True},
            )
        except NotFound:
            return {"copied": False, "reason": "the study is gone"}
        return {"copied": True, "orthanc_study_id": made.get("ID", "")}

    def _each_label(self, order: TaskOrder, change: Any) -> Mapping[str, Any]:
        try:
            for label in order.parameters["labels"]:
                change(f"/studies/{order.orthanc_study_id}/labels/{quote(label, safe='')}")
        except NotFound:
            return {"labelled": False}
        return {"labelled": True}
