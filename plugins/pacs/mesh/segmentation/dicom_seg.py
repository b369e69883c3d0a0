"""Segments of a DICOM SEG, as masks on voxels of its own.

Sources: PS3.3 A.51 (Segmentation), C.8.20.2 (segments, fractions, label maps), C.7.6.16.2.9 (which frame is of which
segment).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacs.mesh.errors import EmptySegment, NoSegmentation, OtherFrameOfReference, UnknownSegment
from pacs.mesh.reading.files import InstanceFile
from pacs.mesh.reading.frames import by_functional_groups
from pacs.mesh.reading.header import Header, read_dataset, read_header, refusing_damage
from pacs.mesh.reading.pixel_format import integer_format
from pacs.mesh.reading.reader import SliceReader
from pacs.mesh.reading.slices import Slice
from pacs.mesh.segmentation.colors import srgb_of
from pacs.mesh.segmentation.lattice import lattice_of
from pacs.mesh.segmentation.regions import Region
from pacs.mesh.volume import Source, Volume

_SOP_CLASS_UIDS: Final = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})


@dataclass(frozen=True, slots=True)
class _Segmentation:
    header: Header
    dataset: Dataset

    @property
    def kind(self) -> str:
        """BINARY, FRACTIONAL or LABELMAP."""
        return str(self.dataset.get("SegmentationType") or "")

    @property
    def most(self) -> int:
        """The voxel that belongs to a segment as a whole."""
        return int(self.dataset.get("MaximumFractionalValue") or 255) if self.kind == "FRACTIONAL" else 1


def segments(file: InstanceFile) -> tuple[Region, ...]:
    """Return the segments of a DICOM SEG, without the background of a label map.

    Raises
    ------
    NoSegmentation : it is none.
    """
    with refusing_damage(file):
        return _regions(_segmentation(file))


def _regions(found: _Segmentation) -> tuple[Region, ...]:
    return tuple(
        Region(int(item.SegmentNumber), str(item.get("SegmentLabel") or ""), _color(item))
        for item in found.dataset.get("SegmentSequence") or ()
        if int(item.SegmentNumber) or found.kind != "LABELMAP"
    )


def mask(file: InstanceFile, number: int, reference: Volume | None = None) -> Volume:
    """Return a segment on the voxels of the SEG: 0 or 1, of a fractional one 0 to MaximumFractionalValue.

    The voxels reach from the first to the last frame of all its segments, so that they are the same for each.

    Parameters
    ----------
    reference : the volume that it was made of, whose frame of reference it must share.

    Raises
    ------
    NoSegmentation : it is no DICOM SEG, or its frames are no parallel slices.
    UnknownSegment, EmptySegment : it has no segment of this number, or no voxel of it.
    OtherFrameOfReference : it lies in another coordinate system.
    TruncatedInstance, UndecodableInstance : the pixels can't be read.
    """
    with refusing_damage(file):
        found = _segmentation(file)
        _require_segment(found, number)
        _require_frame_of_reference(found.header, reference)
        slices, numbers = _frames(found)
    lattice = lattice_of(slices, reference.geometry if reference is not None else None)
    _, rows, columns = lattice.shape
    voxels = np.zeros(lattice.shape, np.uint8)
    wanted = [one for one, its in zip(slices, numbers, strict=True) if its in (number, None)]
    with SliceReader() as reader:
        for one in wanted:
            pixels = _pixels(reader, one, found, number)
            for layer in lattice.layers_of(one):
                np.maximum(inner := voxels[layer, 1 : rows - 1, 1 : columns - 1], pixels, out=inner)
    if not voxels.any():
        raise EmptySegment(f"Segment {number} has no voxel.", remedy="Choose another.")
    header = found.header
    return Volume(
        voxels,
        outside=0.0,
        slope=1 / found.most,
        intercept=0.0,
        unit="",
        geometry=lattice.geometry,
        modality=header.text("Modality"),
        study_instance_uid=header.text("StudyInstanceUID"),
        series_instance_uid=header.text("SeriesInstanceUID"),
        frame_of_reference_uid=header.text("FrameOfReferenceUID"),
        sources=(Source(header.text("SOPClassUID"), header.sop_instance_uid),),
    )


def _segmentation(file: InstanceFile) -> _Segmentation:
    header = read_header(file)
    if header.text("SOPClassUID") not in _SOP_CLASS_UIDS or header.pixels is None:
        raise NoSegmentation(
            f"A DICOM SEG was expected, but instance {header.sop_instance_uid} has the SOP class "
            f"{header.text('SOPClassUID')}{'' if header.pixels else ' and no pixels'}.",
            sop_instance_uids=[header.sop_instance_uid],
        )
    return _Segmentation(header, read_dataset(header))


def _color(item: Dataset) -> tuple[int, int, int] | None:
    words = item.get("RecommendedDisplayCIELabValue")
    return srgb_of([int(word) for word in words]) if words is not None and len(words) == 3 else None  # noqa: PLR2004


def _require_segment(found: _Segmentation, number: int) -> None:
    numbers = [region.number for region in _regions(found)]
    if number not in numbers:
        raise UnknownSegment(f"The SEG has no segment {number}, but {sorted(numbers)}.", remedy="Choose one of them.")


def _require_frame_of_reference(header: Header, reference: Volume | None) -> None:
    own, other = header.text("FrameOfReferenceUID"), reference.frame_of_reference_uid if reference else ""
    if own and other and own != other:
        raise OtherFrameOfReference(
            f"The SEG lies in the frame of reference {own}, but the series in {other}.",
            remedy="Choose the series that it was made of.",
            sop_instance_uids=[header.sop_instance_uid],
        )


def _frames(found: _Segmentation) -> tuple[list[Slice], list[int | None]]:
    """Return the frames, and the segment of each; None in a label map, whose pixels tell."""
    groups = found.dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if len(groups) < found.header.frames:
        raise NoSegmentation(
            f"Instance {found.header.sop_instance_uid} does not say where its frames lie.",
            sop_instance_uids=[found.header.sop_instance_uid],
        )
    shared = found.dataset.get("SharedFunctionalGroupsSequence") or (Dataset(),)
    numbers = [_segment_of(group) or _segment_of(shared[0]) for group in groups[: found.header.frames]]
    if found.kind == "LABELMAP":
        numbers = [None] * len(numbers)
    return list(by_functional_groups(found.header, found.dataset)), numbers


def _segment_of(group: Dataset) -> int | None:
    items = group.get("SegmentIdentificationSequence")
    return int(items[0].ReferencedSegmentNumber) if items else None


def _pixels(reader: SliceReader, one: Slice, found: _Segmentation, number: int) -> NDArray[np.uint8]:
    if found.header.numbers.get("BitsAllocated") == 1:
        return reader.bits(one)
    samples = reader.read(one, integer_format(found.header))
    if found.kind == "FRACTIONAL":
        return samples.astype(np.uint8)
    is_in: NDArray[np.bool_] = samples == number if found.kind == "LABELMAP" else samples > 0
    return is_in.astype(np.uint8)
