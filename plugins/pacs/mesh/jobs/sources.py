"""What a model is made of: images, masks of DICOM SEG or RTSTRUCT, or both, found from the series that was named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from pacs.errors import InvalidInput, NotFound
from pacs.mesh.jobs.series import SourceSeries, find_series
from pacs.mesh.recipe import Recipe, RoiSelection, SegmentSelection
from pacs.ports import Archive, Json
from pacs.studies.instance_files import InstanceFiles

MASK_MODALITIES = frozenset({"SEG", "RTSTRUCT"})


@dataclass(frozen=True)
class Sources:
    """The series of a model.

    Attributes
    ----------
    named : the series that was asked for.
    images : where voxels and, for contours, the grid come from; None for a DICOM SEG, which has a grid of its own.
    masks : series with the segmentations; of each only the instances that are needed.
    """

    named: SourceSeries
    images: SourceSeries | None
    masks: tuple[SourceSeries, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all that goes into the model."""
        parts = (*((self.images,) if self.images else ()), *self.masks)
        return hashlib.sha256(" ".join(one.digest for one in parts).encode()).hexdigest()


class SourceFinder:
    """Finds sources in the archive and brings their files before a child."""

    def __init__(self, archive: Archive, files: InstanceFiles) -> None:
        self._archive = archive
        self._files = files

    def named(self, identifier: str) -> Sources:
        """Return a series as a source, without what it may refer to. Raises as `find_series`."""
        series = find_series(self._archive, identifier)
        is_mask = series.modality in MASK_MODALITIES
        return Sources(series, None if is_mask else series, (series,) if is_mask else ())

    def with_images(self, sources: Sources, series_instance_uid: str) -> Sources:
        """Add the images that an RTSTRUCT was drawn on.

        Raises
        ------
        InvalidInput : they are not in the archive.
        """
        try:
            return replace(sources, images=find_series(self._archive, series_instance_uid))
        except NotFound as error:
            raise InvalidInput(
                f"The contours were drawn on the series {series_instance_uid}, which is not in the archive.",
                remedy="Send it to the archive, then try again.",
            ) from error

    def with_masks(self, sources: Sources, recipe: Recipe) -> Sources:
        """Add the segmentations that a recipe names beside the images.

        Raises
        ------
        InvalidInput : one is not in the archive.
        """
        named = {
            part.select.sop_instance_uid
            for part in recipe.parts
            if isinstance(part.select, SegmentSelection | RoiSelection) and part.select.sop_instance_uid
        }
        there = {one.sop_instance_uid for series in sources.masks for one in series.instances}
        return replace(sources, masks=(*sources.masks, *map(self._series_of, sorted(named - there))))

    def _series_of(self, sop_instance_uid: str) -> SourceSeries:
        for found in self._archive.post_bytes("/tools/lookup", sop_instance_uid.encode()):
            if found["Type"] == "Instance":
                parent = self._archive.get_json(f"/instances/{found['ID']}")["ParentSeries"]
                series = find_series(self._archive, parent)
                wanted = tuple(one for one in series.instances if one.sop_instance_uid == sop_instance_uid)
                return replace(series, instances=wanted)
        raise InvalidInput(f"Expected a segmentation {sop_instance_uid} in the archive, found none.")

    @contextmanager
    def opened(self, sources: Sources) -> Iterator[dict[str, Json]]:
        """Give the files of `sources` as arguments for a child: `images`, paths; `masks`, paths by SOPInstanceUID."""
        with ExitStack() as stack:
            images = stack.enter_context(self._files.opened(sources.images.instances)) if sources.images else []
            masks: dict[str, str] = {}
            for series in sources.masks:
                paths = stack.enter_context(self._files.opened(series.instances))
                masks |= {one.sop_instance_uid: path for one, path in zip(series.instances, paths, strict=True)}
            yield {"images": images, "masks": masks}
