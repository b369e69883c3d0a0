"""From a source of voxels and a recipe to the files of a model and its report.

The order is that of least memory: of each part the surface is made while the volume is there; then the volume goes,
and what follows needs memory for triangles only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pacs.mesh import check, decimation, memory, smoothing, writers
from pacs.mesh.assessment import Provenance, RoughPart, model_report, notices, part_report
from pacs.mesh.errors import EmptyPart, MeshCancelled
from pacs.mesh.recipe import (
    Coordinates,
    DeviationReduction,
    MaskSelection,
    Part,
    Recipe,
    RoiSelection,
    SegmentSelection,
    ShareReduction,
)
from pacs.mesh.report import EdgeCheck, ModelFile, PartReport, Report
from pacs.mesh.selection import select
from pacs.mesh.stages import Stage, Stages
from pacs.mesh.surface import Surface, clustered, extract
from pacs.mesh.volume import Volume
from pacs.mesh.writers import Model, NamedSurface

# Called with the stage (a word) and the fraction of the whole job that is done, 0 to 1.
type StageProgress = Callable[[str, float], None]
type Cancelled = Callable[[], bool]

PASS_BAND = 0.1
_DEVIATION_SAMPLES = 3000
# Where a deviation was asked for, so that few places that miss it stay untold.
_ASKED_DEVIATION_SAMPLES = 300_000
# Where at least this share is to go, slivers go first: by groups of one voxel, or of more where most is to go. These
# are as long as wide in mm: of thick slices they take one each, as what is thin has few of them.
_CLUSTERED_SHARE = 0.55
_WIDELY_CLUSTERED_SHARE = 0.85
_WIDE_GROUP_VOXELS = 1.8
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class ModelSource(Protocol):
    """Where the voxels of a model come from. Each method may raise any `MeshError`."""

    def shape(self, sub_volume: str | None) -> tuple[int, int, int]:
        """Return (slices, rows, columns) of the volume, padded, without reading it."""

    def volume(
        self, sub_volume: str | None, *, scale: int, progress: Callable[[float], None], cancelled: Cancelled
    ) -> Volume:
        """Read the images, with `scale` voxels along each axis made one."""

    def mask(self, select: MaskSelection, reference: Volume | None) -> Volume:
        """Return a segment, or a ROI on the grid of `reference`, as voxels of uint8, 0 or 1."""


def make(
    source: ModelSource,
    recipe: Recipe,
    place: Path,
    progress: StageProgress = lambda _stage, _fraction: None,
    cancelled: Cancelled = lambda: False,
) -> Report:
    """Make the model of `recipe`, write its files into the folder `place`, and report.

    Parameters
    ----------
    progress : called on this thread, while reading on others, too.
    cancelled : asked often.

    Raises
    ------
    MeshCancelled : `cancelled` said so.
    MeshError : nothing can be made of it; its kinds say why.
    """
    return _Making(source, recipe, place, Stages(progress, len(recipe.parts)), cancelled).report()


@dataclass(frozen=True)
class _Finished:
    """A part as it is written."""

    rough: RoughPart
    surface: Surface
    edges: EdgeCheck


class _Making:
    """One model in the making."""

    def __init__(self, source: ModelSource, recipe: Recipe, place: Path, stages: Stages, cancelled: Cancelled) -> None:
        self._source, self._recipe, self._place = source, recipe, place
        self._stages, self._cancelled = stages, cancelled

    def report(self) -> Report:
        """Make it."""
        memory.forget_peak()
        provenance, rough, surfaces = self._rough_parts()
        memory.give_back()
        most = _most_triangles(self._recipe, sum(one.full_triangles for one in rough))
        finished = self._finished(rough, surfaces, most)
        parts = [self._assessed(one) for one in finished]
        files = self._written([one.surface for one in finished])
        return model_report(
            self._recipe,
            provenance,
            parts,
            found=notices(parts, most, _most_mm(self._recipe)),
            files=files,
            seconds=self._stages.seconds,
            peak_memory_bytes=memory.peak_bytes(),
        )

    def _rough_parts(self) -> tuple[Provenance, list[RoughPart], list[Surface]]:
        """Read, and make the isosurface of each part, in units of its lattice. The voxels are gone afterwards."""
        volume = self._volume()
        provenance = None if volume is None else Provenance.of(volume)
        rough: list[RoughPart] = []
        surfaces: list[Surface] = []
        for part in self._recipe.parts:
            self._check()
            voxels = self._voxels(part, volume)
            provenance = provenance or Provenance.of(voxels)
            found, surface = self._rough(part, voxels)
            rough.append(found)
            surfaces.append(surface)
        if provenance is None:
            raise AssertionError("A recipe has a part at least.")
        return provenance, rough, surfaces

    def _volume(self) -> Volume | None:
        if all(isinstance(part.select, SegmentSelection) for part in self._recipe.parts):
            return None
        with self._stages.stage(Stage.READING, of_part=False) as advance:
            return self._source.volume(self._recipe.sub_volume, scale=1, progress=advance, cancelled=self._cancelled)

    def _voxels(self, part: Part, volume: Volume | None) -> Volume:
        if isinstance(part.select, SegmentSelection | RoiSelection):
            return self._source.mask(part.select, volume)
        if volume is None:
            raise AssertionError("Images are read for all that is no segment.")
        return volume

    def _rough(self, part: Part, volume: Volume) -> tuple[RoughPart, Surface]:
        with self._stages.stage(Stage.SELECTING):
            selected = select(part, self._recipe, volume, self._check)
        with self._stages.stage(Stage.SURFACE) as advance:
            surface = extract(selected.field, advance, self._check)
        if not len(surface.triangles):
            raise EmptyPart(
                f"Expected something of kind {part.select.kind} to make a surface of, found none.",
                remedy="Choose another threshold, segment or box.",
            )
        some = Surface(self._samples(surface.points), surface.triangles[:0])
        affine = _TO_RAS @ selected.affine if self._recipe.coordinates is Coordinates.RAS else selected.affine
        return RoughPart(
            part=part,
            affine=affine,
            values=selected.values,
            pieces=selected.pieces,
            pieces_dropped=selected.pieces_dropped,
            mask_mm3=selected.mask_mm3,
            unit=volume.unit,
            full_triangles=len(surface.triangles),
            samples=some.moved(affine).points,
        ), surface

    def _finished(self, rough: Sequence[RoughPart], surfaces: list[Surface], most: int | None) -> list[_Finished]:
        """Smooth, reduce and mend each part. Takes the `surfaces`, so that none is kept longer than needed."""
        full = sum(one.full_triangles for one in rough)
        finished = []
        for one in rough:
            with self._stages.stage(Stage.SMOOTHING):
                surface = self._smoothed(surfaces.pop(0), one.affine, 0.0 if most is None else 1 - most / full)
            with self._stages.stage(Stage.REDUCING):
                part, surface = self._reduced(one, surface, None if most is None else most * one.full_triangles // full)
            with self._stages.stage(Stage.CHECKING):
                self._check()
                finished.append(_Finished(part, *check.checked(surface)))
        return finished

    def _smoothed(self, surface: Surface, affine: NDArray[np.float64], share: float) -> Surface:
        step = self._group_voxels(affine, share)
        if step is not None:
            surface = clustered(surface, step)
        self._check()
        return smoothing.smoothed(surface.moved(affine), self._recipe.smooth_iterations, PASS_BAND, self._check)

    def _group_voxels(self, affine: NDArray[np.float64], share: float) -> NDArray[np.float64] | None:
        """Return the size of the groups of vertices that become one before all else, None where each stays.

        Parameters
        ----------
        share : of the triangles that is to go, if that was said.
        """
        spacing_mm, single = np.linalg.norm(affine[:3, :3], axis=0), np.ones(3)
        if share < _CLUSTERED_SHARE:
            return None
        wide = _WIDE_GROUP_VOXELS * spacing_mm.min() / spacing_mm
        return np.maximum(wide, single) if share >= _WIDELY_CLUSTERED_SHARE else single

    def _reduced(self, rough: RoughPart, surface: Surface, wanted: int | None) -> tuple[RoughPart, Surface]:
        if isinstance(self._recipe.reduce, DeviationReduction):
            found = decimation.reduced_within(surface, self._recipe.reduce.deviation_mm, self._check)
            samples = rough.samples[~self._samples(found.is_left_out)]
            return replace(rough, samples=samples, specks_dropped=found.specks), found.surface
        return rough, surface if wanted is None else decimation.reduced_to(surface, wanted, self._check)

    def _samples[Kind: np.generic](self, of_vertices: NDArray[Kind]) -> NDArray[Kind]:
        """Return what belongs to the vertices at which the deviation is measured."""
        is_asked = isinstance(self._recipe.reduce, DeviationReduction)
        most = _ASKED_DEVIATION_SAMPLES if is_asked else _DEVIATION_SAMPLES
        return of_vertices[:: max(1, len(of_vertices) // most)]

    def _assessed(self, finished: _Finished) -> PartReport:
        self._check()
        with self._stages.stage(Stage.CHECKING):
            return part_report(finished.rough, finished.surface, finished.edges, is_full=self._is_full)

    def _written(self, surfaces: Sequence[Surface]) -> list[ModelFile]:
        parts = zip(self._recipe.parts, surfaces, strict=True)
        named = tuple(NamedSurface(part.name, part.color_rgb, surface) for part, surface in parts)
        model, files = Model(named, self._recipe.coordinates.value), []
        with self._stages.stage(Stage.WRITING, of_part=False) as advance:
            for number, kind in enumerate(self._recipe.formats):
                self._check()
                advance(number / len(self._recipe.formats))
                files += [_model_file(one) for one in writers.write(model, kind, self._place)]
        return files

    @property
    def _is_full(self) -> bool:
        """Whether isosurfaces are given as they are."""
        return self._recipe.reduce is None and not self._recipe.smooth_iterations

    def _check(self) -> None:
        if self._cancelled():
            raise MeshCancelled


def _most_triangles(recipe: Recipe, full: int) -> int | None:
    if recipe.reduce is None or isinstance(recipe.reduce, DeviationReduction):
        return None
    if isinstance(recipe.reduce, ShareReduction):
        return round(full * (1 - recipe.reduce.share))
    return recipe.reduce.triangles


def _most_mm(recipe: Recipe) -> float | None:
    return recipe.reduce.deviation_mm if isinstance(recipe.reduce, DeviationReduction) else None


def _model_file(written: writers.WrittenFile) -> ModelFile:
    with written.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFile(
        name=written.path.name,
        format=written.format,
        media_type=written.media_type,
        size_bytes=written.path.stat().st_size,
        sha256=digest,
    )
