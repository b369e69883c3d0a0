"""The frames of multi-frame images: enhanced CT and MR with their functional groups, dose grids with their offsets.

Sources: PS3.3 C.7.6.16 (functional groups; a frame's own come before those shared by all), C.8.8.3.2 (dose grids).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from pacs.mesh.errors import NoPosition, UnreadableInstance
from pacs.mesh.reading.header import DISTINGUISHING, Header, as_floats, read_dataset, refusing_damage, tag_of, text_of
from pacs.mesh.reading.slices import Slice, has_place

_DESCRIBING: Final = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SpacingBetweenSlices"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *(keyword for keyword in DISTINGUISHING if not keyword.startswith("DimensionIndex")),
    "DimensionIndexValues",
)
# Where a frame has them; the deeper ones are of diffusion.
_MACROS: Final = frozenset(
    {"PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence"}
    | {"FrameContentSequence", "CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence"}
    | {"MREchoSequence", "MRModifierSequence", "MRDiffusionSequence", "DiffusionGradientDirectionSequence"}
    | {"CardiacSynchronizationSequence", "TemporalPositionSequence", "MRTimingAndRelatedParametersSequence"}
    | {"CTReconstructionSequence", "CTXRayDetailsSequence", "XRay3DFrameTypeSequence"}
)
_MACRO_TAGS: Final = frozenset(map(tag_of, _MACROS))
_DESCRIBING_TAGS: Final = {tag_of(keyword): keyword for keyword in _DESCRIBING}


def slices_of(header: Header) -> Iterator[Slice]:
    """Give the slices of an image, one or many.

    Raises
    ------
    NoPosition : it, or one of its frames, does not say where it lies.
    UnreadableInstance : it has more or fewer functional groups than frames.
    """
    if header.frames == 1 and (has_place(header.texts) or not header.text("NumberOfFrames")):
        yield Slice.of(header, header.texts)
        return
    dataset = read_dataset(header)
    with refusing_damage(header.file):
        yield from _by_dataset(header, dataset)


def _by_dataset(header: Header, dataset: Dataset) -> Iterator[Slice]:
    if "PerFrameFunctionalGroupsSequence" in dataset:
        yield from by_functional_groups(header, dataset)
    elif "GridFrameOffsetVector" in dataset:
        yield from _by_grid_offsets(header, dataset)
    else:
        raise NoPosition(
            f"The {header.frames} frames of instance {header.sop_instance_uid} do not say where they lie.",
            remedy="Ask for the series as single slices, or with a position for each frame.",
            sop_instance_uids=[header.sop_instance_uid],
        )


def by_functional_groups(header: Header, dataset: Dataset) -> Iterator[Slice]:
    """Give the frames of an image as slices.

    Raises
    ------
    NoPosition : one does not say where it lies.
    UnreadableInstance : it has more or fewer functional groups than frames.
    """
    groups = dataset.PerFrameFunctionalGroupsSequence
    if len(groups) != header.frames:
        raise UnreadableInstance(
            f"Instance {header.sop_instance_uid} has {header.frames} frames, but describes {len(groups)}.",
            remedy="Ask for the series as the scanner made it.",
            sop_instance_uids=[header.sop_instance_uid],
        )
    shared = dict(header.texts)
    for item in dataset.get("SharedFunctionalGroupsSequence") or ():
        shared |= described(item)
    for frame in range(header.frames):
        yield Slice.of(header, shared | described(groups[frame]), frame)


def described(group: Dataset) -> dict[str, str]:
    """Return what functional groups say of a frame, by keyword."""
    found: dict[str, str] = {}
    for tag in group.keys():  # noqa: SIM118 - iterating over a data set would parse all of it
        if tag in _MACRO_TAGS:
            for item in group[tag].value or ():
                found |= described(item)
        elif tag in _DESCRIBING_TAGS and (text := text_of(group, _DESCRIBING_TAGS[tag])):
            found[_DESCRIBING_TAGS[tag]] = text
    if indices := found.pop("DimensionIndexValues", ""):
        found |= {f"DimensionIndex{place}": index for place, index in enumerate(indices.split("\\"), start=1)}
    return found


def _by_grid_offsets(header: Header, dataset: Dataset) -> Iterator[Slice]:
    """Dose frames lie along the normal, or at coordinates of the patient's z axis if the first one's is not 0."""
    offsets = as_floats(text_of(dataset, "GridFrameOffsetVector"), header.frames)
    first = Slice.of(header, header.texts)
    if offsets is None:
        raise NoPosition(
            f"GridFrameOffsetVector of instance {header.sop_instance_uid} must have {header.frames} numbers.",
            sop_instance_uids=[header.sop_instance_uid],
        )
    direction = np.array([0.0, 0.0, 1.0]) if offsets[0] else first.normal
    for frame, offset in enumerate(offsets):
        place = first.position_mm + direction * (offset - offsets[0])
        text = "\\".join(map(repr, np.asarray(place).tolist()))
        yield Slice.of(header, {**header.texts, "ImagePositionPatient": text}, frame)
