"""`FileSource`: files of the archive as what the pipeline reads voxels from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Self

import pydicom
from pydicom import Dataset
from pydicom.uid import RTStructureSetStorage

from pacs.mesh.errors import NoSegmentation
from pacs.mesh.pipeline import Cancelled
from pacs.mesh.reading.series import InstanceFile, estimate, read_series
from pacs.mesh.recipe import MaskSelection
from pacs.mesh.segmentation import dicom_seg, rtstruct
from pacs.mesh.volume import Volume
from pacs.ports import Json

_HEADER_KEYWORDS = [
    "SOPClassUID",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "ReferencedFrameOfReferenceSequence",
    "ReferencedSeriesSequence",
]


@dataclass(frozen=True)
class FileSource:
    """Implements `pacs.mesh.pipeline.ModelSource`.

    Attributes
    ----------
    masks : DICOM SEG and RTSTRUCT by SOPInstanceUID.
    """

    images: tuple[InstanceFile, ...]
    masks: Mapping[str, InstanceFile]

    @classmethod
    def of(cls, arguments: Mapping[str, Json]) -> Self:
        """Read the arguments that the functions of `child` have in common."""
        images = tuple(InstanceFile(Path(path)) for path in arguments["images"])
        return cls(images, {uid: InstanceFile(Path(path)) for uid, path in arguments["masks"].items()})

    def shape(self, sub_volume: str | None) -> tuple[int, int, int]:
        """See `ModelSource.shape`."""
        return estimate(self.images, sub_volume).shape

    def volume(
        self, sub_volume: str | None, *, scale: int, progress: Callable[[float], None], cancelled: Cancelled
    ) -> Volume:
        """See `ModelSource.volume`."""
        return read_series(self.images, sub_volume, scale=scale, progress=progress, cancelled=cancelled)

    def mask(self, select: MaskSelection, reference: Volume | None) -> Volume:
        """See `ModelSource.mask`."""
        file = self._mask_file(select)
        if select.kind == "segment":
            return dicom_seg.mask(file, select.number, reference)
        return rtstruct.mask(file, select.number, reference)

    def kind_of(self, sop_instance_uid: str) -> Literal["segment", "roi"]:
        """Tell which kind of selection a segmentation is for."""
        return "roi" if self.header(sop_instance_uid).get("SOPClassUID") == RTStructureSetStorage else "segment"

    def header(self, sop_instance_uid: str) -> Dataset:
        """Return what a segmentation says of itself, without its voxels and contours."""
        return _header(self.masks[sop_instance_uid].path)

    def drawn_on(self, sop_instance_uid: str) -> str | None:
        """Return the SeriesInstanceUID of the images of an RTSTRUCT, None when it names none."""
        for frame in self.header(sop_instance_uid).get("ReferencedFrameOfReferenceSequence") or []:
            for study in frame.get("RTReferencedStudySequence") or []:
                for series in study.get("RTReferencedSeriesSequence") or []:
                    return str(series.SeriesInstanceUID)
        return None

    def _mask_file(self, select: MaskSelection) -> InstanceFile:
        """Return the segmentation that a selection means: the one it names, else the only one of its kind."""
        if select.sop_instance_uid is not None:
            found = [self.masks[uid] for uid in self.masks if uid == select.sop_instance_uid]
        else:
            found = [file for uid, file in self.masks.items() if self.kind_of(uid) == select.kind]
        if len(found) != 1:
            raise NoSegmentation(
                f"Expected one segmentation for {select.kind} {select.number}, found {len(found)}.",
                remedy="Name it by sop_instance_uid, or order the model from the series of the segmentation.",
            )
        return found[0]


@cache
def _header(path: Path) -> Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_HEADER_KEYWORDS)
