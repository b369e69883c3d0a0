"""Read a series as one volume in patient coordinates.

Slices are sorted by where they lie, samples go straight into the padded volume: no second copy of it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pacs.mesh.errors import MeshCancelled
from pacs.mesh.reading.files import InstanceFile
from pacs.mesh.reading.grid import Grid, grid_of
from pacs.mesh.reading.header_warnings import header_warnings
from pacs.mesh.reading.interpolation import interpolate
from pacs.mesh.reading.observations import Observation, observed, warnings_of
from pacs.mesh.reading.pixel_format import format_of
from pacs.mesh.reading.reader import SliceReader, is_native
from pacs.mesh.reading.selection import Selection, chosen, described, names, select
from pacs.mesh.reading.slices import Slice
from pacs.mesh.reading.spacing import Spacing, spacing_of
from pacs.mesh.reading.stacks import Stack
from pacs.mesh.reading.values import Meaning, meaning_of, place
from pacs.mesh.volume import Source, Volume, Voxels

__all__ = ["InstanceFile", "SubVolume", "VolumeEstimate", "estimate", "read_series", "sub_volumes"]

# Codecs give up the interpreter's lock; a job has one core of its own, and the second when it is free. Reading alone is
# too short to be shared: handing over costs more.
_DECODING_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class SubVolume:
    """One of the volumes in a series.

    Attributes
    ----------
    name : what `read_series` takes.
    count : of its slices.
    description : plane, size, and what tells it from the others, in terms of DICOM.
    """

    name: str
    count: int
    description: str


@dataclass(frozen=True, slots=True)
class VolumeEstimate:
    """What a volume will need once it is read.

    Attributes
    ----------
    bytes : of the array, and of the slices that an uneven stack is interpolated from.
    shape : of the padded array: slices, rows, columns.
    """

    bytes: int
    shape: tuple[int, int, int]


def sub_volumes(files: Sequence[InstanceFile]) -> tuple[SubVolume, ...]:
    """Return the volumes in a series; of most series it is one. Reads the headers.

    Raises
    ------
    MeshError : there is none; its kinds say why.
    """
    with SliceReader() as reader:
        selection = select(files, reader.fingerprint)
    return tuple(
        SubVolume(name, len(stack.slices), described(stack))
        for name, stack in zip(names(selection), selection.stacks, strict=True)
    )


def estimate(files: Sequence[InstanceFile], sub_volume: str | None = None, *, scale: int = 1) -> VolumeEstimate:
    """Return what a volume will need, from the headers. Refuses whatever of `read_series`' refusals headers tell.

    Raises
    ------
    MeshError : the volume can't be read; its kinds say why.
    """
    with SliceReader() as reader:
        stack = chosen(select(files, reader.fingerprint), sub_volume)
    spacing, meaning = spacing_of(stack), meaning_of(stack.slices)
    grid = grid_of(stack.slices[0], spacing, scale)
    slices, rows, columns = grid.shape
    beside = 0 if spacing.is_even else len(stack.slices) * (rows - 2) * (columns - 2)
    return VolumeEstimate((slices * rows * columns + beside) * meaning.dtype.itemsize, grid.shape)


def read_series(
    files: Sequence[InstanceFile],
    sub_volume: str | None = None,
    *,
    scale: int = 1,
    progress: Callable[[float], None] = lambda _fraction: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Volume:
    """Read a series, or the volume of it that `sub_volume` names.

    Parameters
    ----------
    files : its instances, in any order.
    scale : 1, or for a preview 2, 4 ...: blocks of so many columns, rows and, where they are thin, slices become one
        voxel. Of slices that are left out nothing is read.
    progress : called on this and other threads with the share that is read, 0 to 1.
    cancelled : asked on this and other threads.

    Raises
    ------
    MeshError : the volume can't be read; its kinds say why and name the instance at fault.
    MeshCancelled : `cancelled` said so.
    """
    with SliceReader() as reader:
        selection = select(files, reader.fingerprint, cancelled)
        stack = chosen(selection, sub_volume)
        return _Reading(reader, selection, stack, scale, _Watch(progress, cancelled)).volume()


@dataclass(frozen=True, slots=True)
class _Watch:
    """Whoever waits for a volume."""

    progress: Callable[[float], None]
    cancelled: Callable[[], bool]


class _Reading:
    """Reads one stack."""

    def __init__(self, reader: SliceReader, selection: Selection, stack: Stack, scale: int, watch: _Watch) -> None:
        self._reader, self._selection, self._stack, self._watch = reader, selection, stack, watch
        self._spacing: Spacing = spacing_of(stack)
        self._meaning: Meaning = meaning_of(stack.slices)
        self._grid: Grid = grid_of(stack.slices[0], self._spacing, scale)
        self._forms = {id(one.header): format_of(one.header) for one in stack.slices}
        self._done = 0

    def volume(self) -> Volume:
        """Read it."""
        voxels = np.empty(self._grid.shape, self._meaning.dtype)
        inner = voxels[1:-1, 1:-1, 1:-1]
        slices = self._stack.slices
        if self._spacing.is_even:
            observations = self._fill(inner, slices[self._grid.first_slice :: self._grid.scale_slices])
        else:
            read = np.empty((len(slices), *inner.shape[1:]), voxels.dtype)
            observations = self._fill(read, slices)
            interpolate(read, self._spacing.places, inner, self._grid.slice_places)
        outside = self._meaning.outside(min(one.smallest for one in observations))
        _pad(voxels, outside)
        return self._described(voxels, outside, observations)

    def _fill(self, target: Voxels, slices: Sequence[Slice]) -> list[Observation]:
        """Read each slice into its place in `target`, shape (slices, rows, columns)."""
        wanted = slices[: len(target)]
        if all(is_native(one.header) for one in wanted):
            return [self._read(one, target[k], len(wanted)) for k, one in enumerate(wanted)]
        with ThreadPoolExecutor(_DECODING_THREADS, thread_name_prefix="mesh-decoding") as threads:
            tasks = [threads.submit(self._read, one, target[k], len(wanted)) for k, one in enumerate(wanted)]
            try:
                return [task.result() for task in tasks]
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise

    def _read(self, one: Slice, target: np.ndarray[Any, np.dtype[Any]], count: int) -> Observation:
        if self._watch.cancelled():
            raise MeshCancelled
        form = self._forms[id(one.header)]
        samples = place(self._reader.read(one, form), one, form, self._meaning)
        observation = observed(samples, self._meaning.levels)
        target[...] = self._grid.shrunk(samples)
        self._done += 1
        self._watch.progress(min(self._done / count, 1.0))
        return observation

    def _described(self, voxels: Voxels, outside: float, observations: Sequence[Observation]) -> Volume:
        first = self._stack.slices[0].header
        warnings = (
            *header_warnings(self._selection, self._stack, self._spacing, self._meaning),
            *warnings_of(observations, self._meaning.unit),
        )
        headers = {one.header.sop_instance_uid: one.header for one in self._stack.slices}
        return Volume(
            voxels,
            outside,
            self._meaning.slope,
            self._meaning.intercept,
            self._meaning.unit,
            self._grid.geometry,
            first.text("Modality"),
            first.text("StudyInstanceUID"),
            first.text("SeriesInstanceUID"),
            next(filter(None, (one.header.text("FrameOfReferenceUID") for one in self._stack.slices)), ""),
            tuple(Source(header.text("SOPClassUID"), uid) for uid, header in headers.items()),
            warnings,
        )


def _pad(voxels: Voxels, outside: float) -> None:
    for border in (voxels[0], voxels[-1], voxels[:, 0], voxels[:, -1], voxels[:, :, 0], voxels[:, :, -1]):
        border[...] = outside
