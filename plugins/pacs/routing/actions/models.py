"""3D models by rule: of the study's largest CT series, or of the series that the rule was asked about."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pacs.errors import InvalidInput, NotFound
from pacs.mesh.errors import MeshError
from pacs.mesh.jobs.service import Models
from pacs.mesh.recipe import Part, Preset, PresetSelection, Recipe
from pacs.ports import Archive
from pacs.processes import ProcessFailed
from pacs.routing.actions.orders import TaskOrder, Tasks
from pacs.work import Reject

# Fewer slices are a localizer or a reconstruction that shows no shape.
_FEWEST_SLICES = 20
_MODALITY = "CT"


class ModelTasks:
    """The handler of `model`. The finished models stand on the page 3D."""

    def __init__(self, archive: Archive, models: Models) -> None:
        self._archive = archive
        self._models = models

    def register(self, tasks: Tasks) -> None:
        """Have models ordered here."""
        tasks.register("model", self.order)

    def order(self, order: TaskOrder) -> Mapping[str, Any]:
        """Order a model of each tissue. Raise Reject when no volume can be made of the series."""
        series = order.orthanc_series_id or self._largest_series(order.orthanc_study_id)
        if series is None:
            return {"jobs": [], "reason": f"no {_MODALITY} series of {_FEWEST_SLICES} images or more"}
        try:
            return {"jobs": [self._ordered(series, Preset(name), order.rule) for name in order.parameters["presets"]]}
        except (InvalidInput, NotFound, MeshError, ProcessFailed) as error:
            # A queue that is full and a child that failed are tried again: that is no fault of the series.
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise Reject(str(error)) from error

    def _ordered(self, orthanc_series_id: str, preset: Preset, rule: str) -> int:
        recipe = Recipe(parts=(Part(name=preset.value, select=PresetSelection(preset=preset)),))
        return self._models.order(orthanc_series_id, recipe, f"rule:{rule}").job_id

    def _largest_series(self, orthanc_study_id: str) -> str | None:
        try:
            found = self._archive.get_json(f"/studies/{orthanc_study_id}/series")
        except NotFound:
            return None
        sizes = {
            series["ID"]: len(series["Instances"])
            for series in found
            if series["MainDicomTags"].get("Modality") == _MODALITY and len(series["Instances"]) >= _FEWEST_SLICES
        }
        return max(sizes, key=lambda series: sizes[series], default=None)
