"""Which instances of a series are slices, and which stack of slices is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pacs.mesh.errors import (
    Localizers,
    MeshCancelled,
    MeshError,
    NoImages,
    NoPosition,
    SamePlaceTwice,
    SeveralVolumes,
    SingleImage,
    UnknownSubVolume,
    UnsuitablePixels,
)
from pacs.mesh.reading.files import InstanceFile
from pacs.mesh.reading.frames import slices_of
from pacs.mesh.reading.header import FREE_TEXTS, Header, as_floats, read_header
from pacs.mesh.reading.pixel_format import format_of, require_whole
from pacs.mesh.reading.reader import is_native
from pacs.mesh.reading.slices import Slice
from pacs.mesh.reading.stacks import Stack, stacks_of

_SLICES_OF_A_VOLUME: Final = 2
_LISTED: Final = 8
# Cosine between the normal and an axis of the patient, up to which a slice is called after that axis.
_NEARLY: Final = 0.8


@dataclass(frozen=True, slots=True)
class Selection:
    """The stacks of a series that can be volumes.

    Attributes
    ----------
    left_out : images that are in none of them.
    duplicates : instances that were given twice.
    """

    stacks: tuple[Stack, ...]
    left_out: int
    duplicates: int


def select(
    files: Sequence[InstanceFile],
    fingerprint: Callable[[Slice], bytes],
    cancelled: Callable[[], bool] = lambda: False,
) -> Selection:
    """Read the headers of a series and find its stacks.

    Raises
    ------
    MeshError : nothing in the series is a volume; its kinds say why.
    """
    headers = _headers(files, cancelled)
    slices, left_out = _slices(list(headers.values()))
    stacks = stacks_of(slices, fingerprint)
    volumes = [stack for stack in stacks if len(stack.slices) >= _SLICES_OF_A_VOLUME]
    if not volumes:
        raise _no_volume(slices)
    alone = sum(len(stack.slices) for stack in stacks if stack not in volumes)
    return Selection(tuple(volumes), left_out + alone, len(files) - len(headers))


def chosen(selection: Selection, name: str | None) -> Stack:
    """Return the stack of a name, which may be left out if there is only one.

    Raises
    ------
    SeveralVolumes : there are several, and no name was given.
    UnknownSubVolume : there is none of this name.
    """
    stacks = dict(zip(names(selection), selection.stacks, strict=True))
    if name is None and len(stacks) == 1:
        return selection.stacks[0]
    listed = [f"{key}: {described(stack)}" for key, stack in stacks.items()]
    told = "; ".join(listed[:_LISTED]) + (f"; and {len(listed) - _LISTED} more" if len(listed) > _LISTED else "")
    if name is None:
        raise SeveralVolumes(f"The series holds {len(stacks)} volumes ({told}).", remedy="Choose one of them.")
    if name not in stacks:
        raise UnknownSubVolume(f"The series has no volume {name!r}, but these: {told}.", remedy="Choose one of them.")
    return stacks[name]


def names(selection: Selection) -> list[str]:
    """Return the names of the stacks: their numbers, the same whenever the series is read."""
    return [str(number) for number in range(1, len(selection.stacks) + 1)]


def described(stack: Stack) -> str:
    """Say for people what a stack is."""
    first = stack.slices[0]
    parts = [_plane(first), f"{len(stack.slices)} slices of {first.columns} x {first.rows}"]
    told = ((key, "" if key in FREE_TEXTS else _shortened(value)) for key, value in stack.told_apart_by.items())
    parts += [f"{key} {value}".strip() for key, value in told]
    return ", ".join(parts)


def _shortened(text: str) -> str:
    """Return values with as many digits as people read."""
    parts = text.split("\\")
    numbers = as_floats(text, len(parts))
    is_decimal = numbers is not None and "." in text
    return "\\".join(f"{number:.4g}" for number in numbers) if numbers and is_decimal else text or "absent"


def _plane(one: Slice) -> str:
    along = np.abs(one.normal)
    return ("sagittal", "coronal", "axial")[int(along.argmax())] if along.max() > _NEARLY else "oblique"


def _headers(files: Sequence[InstanceFile], cancelled: Callable[[], bool]) -> dict[str, Header]:
    """Return the headers by SOP Instance UID, the first of each."""
    headers: dict[str, Header] = {}
    for file in files:
        if cancelled():
            raise MeshCancelled
        header = read_header(file)
        headers.setdefault(header.sop_instance_uid, header)
    return headers


def _slices(headers: Sequence[Header]) -> tuple[list[Slice], int]:
    """Return the slices, and how many images are none."""
    images = [header for header in headers if header.pixels is not None]
    if not images:
        raise NoImages(
            f"None of the {len(headers)} instances is an image.", remedy="Choose a series of CT, MR or PET slices."
        )
    gray = _gray(_without_localizers(images))
    slices: list[Slice] = []
    nowhere: list[tuple[Header, NoPosition]] = []
    for header in gray:
        try:
            slices += slices_of(header)
        except NoPosition as fault:
            nowhere.append((header, fault))
    _require_places(slices, nowhere)
    for header in {id(one.header): one.header for one in slices}.values():
        if is_native(header):
            require_whole(header, format_of(header))
    wanted = [one for one in slices if "LOCALIZER" not in one.distinguishing.get("FrameType", "")]
    return wanted or slices, len(images) - len(gray) + len(nowhere) + len(slices) - len(wanted or slices)


def _without_localizers(images: Sequence[Header]) -> list[Header]:
    slices = [header for header in images if "LOCALIZER" not in header.text("ImageType").upper().split("\\")]
    if not slices:
        raise Localizers(
            f"All {len(images)} images are localizers, such as instance {images[0].sop_instance_uid}.",
            remedy="Choose the series that was planned on them.",
            sop_instance_uids=[header.sop_instance_uid for header in images],
        )
    return slices


def _gray(images: Sequence[Header]) -> list[Header]:
    """Leave out secondary captures in color and the like, unless there is nothing else."""
    gray, faults = [], []
    for header in images:
        try:
            format_of(header)
            _require_no_mosaic(header)
            gray.append(header)
        except UnsuitablePixels as fault:
            faults.append(fault)
    if not gray:
        raise faults[0]
    return gray


def _require_no_mosaic(header: Header) -> None:
    """Siemens' mosaics are all slices of a volume side by side in one image."""
    if "MOSAIC" in header.text("ImageType").upper().split("\\"):
        raise UnsuitablePixels(
            f"A volume is made of slices, but instance {header.sop_instance_uid} is a mosaic of them.",
            remedy="Ask for the series as single slices or as an enhanced MR.",
            sop_instance_uids=[header.sop_instance_uid],
        )


def _require_places(slices: Sequence[Slice], nowhere: Sequence[tuple[Header, NoPosition]]) -> None:
    """Refuse images that don't say where they lie if they might be slices, by their kind and size."""
    if not slices and len(nowhere) == 1 and nowhere[0][0].frames == 1:
        raise _alone(f"instance {nowhere[0][0].sop_instance_uid}", [nowhere[0][0].sop_instance_uid])
    kinds = {_kind(one.header) for one in slices}
    for header, fault in nowhere:
        if not kinds or _kind(header) in kinds:
            raise fault


def _kind(header: Header) -> tuple[object, ...]:
    return header.text("SOPClassUID"), header.numbers.get("Rows"), header.numbers.get("Columns")


def _alone(name: str, sop_instance_uids: Sequence[str]) -> SingleImage:
    return SingleImage(
        f"A volume needs at least two slices, but {name} is alone.",
        remedy="Choose a series of parallel slices.",
        sop_instance_uids=sop_instance_uids,
    )


def _no_volume(slices: Sequence[Slice]) -> MeshError:
    uids = [one.header.sop_instance_uid for one in slices]
    if len(slices) == 1:
        return _alone(slices[0].name, uids)
    if all(np.array_equal(one.position_mm, slices[0].position_mm) for one in slices):
        return SamePlaceTwice(
            f"A volume needs slices in several places, but all {len(slices)} lie where {slices[0].name} lies.",
            remedy="Choose a series of parallel slices.",
            sop_instance_uids=uids,
        )
    frames = {one.header.text("FrameOfReferenceUID") for one in slices}
    are = "in a FrameOfReferenceUID of their own" if len(frames) == len(slices) else "turned against each other"
    return SingleImage(
        f"A volume needs at least two parallel slices, but {slices[0].name} and {len(slices) - 1} more are all {are}.",
        remedy="Choose a series of parallel slices, as the scanner made it.",
        sop_instance_uids=uids,
    )
