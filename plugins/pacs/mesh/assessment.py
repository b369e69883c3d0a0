"""The report of a model: where it comes from, what each part is, and what its user should know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.measuring import SurfaceLocator, bounding_box, volume_and_area
from pacs.mesh.recipe import Part, Recipe
from pacs.mesh.report import (
    BoundingBox,
    Deviation,
    EdgeCheck,
    ModelFile,
    Notice,
    PartReport,
    Point,
    Report,
    SourceInstance,
    Thickness,
)
from pacs.mesh.surface import Surface
from pacs.mesh.tissue import ValueRange
from pacs.mesh.volume import Volume

THIN_WALL_MM = 0.8
"""Walls under two lines of the usual 0.4 mm nozzle do not print."""
_LEAST_OF_MASK = 0.9
_NO_DEVIATION = Deviation(mean_mm=0.0, p99_mm=0.0, max_mm=0.0, samples=0)
_MOST_SEARCHED = 1_000_000
_PROGRAMS = ("numpy", "scipy", "vtk", "fast-simplification", "manifold3d", "pydicom", "imagecodecs")


@dataclass(frozen=True)
class Provenance:
    """What the report takes from a volume, without its voxels."""

    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    modality: str
    sources: tuple[SourceInstance, ...]
    voxels: tuple[int, int, int]
    spacing_mm: Point
    notices: tuple[Notice, ...]

    @classmethod
    def of(cls, volume: Volume) -> Self:
        """Take it."""
        slices, rows, columns = volume.voxels.shape
        return cls(
            volume.study_instance_uid,
            volume.series_instance_uid,
            volume.frame_of_reference_uid,
            volume.modality,
            tuple(
                SourceInstance(sop_class_uid=one.sop_class_uid, sop_instance_uid=one.sop_instance_uid)
                for one in volume.sources
            ),
            (slices - 2, rows - 2, columns - 2),
            volume.geometry.spacing_mm,
            tuple(Notice(code=one.code, values=dict(one.values)) for one in volume.warnings),
        )


@dataclass(frozen=True)
class RoughPart:
    """What was known of a part when its isosurface was made.

    Attributes
    ----------
    affine : (column, row, slice, 1) of the isosurface -> mm in the coordinates of the file.
    values : real values that were selected; None for masks.
    pieces, pieces_dropped, mask_mm3 : see `PartReport`.
    full_triangles : of the isosurface, before slivers went.
    samples : shape (n, 3), vertices of the full isosurface in mm, evenly chosen, without those of specks.
    specks_dropped : see `PartReport`.
    """

    part: Part
    affine: NDArray[np.float64]
    values: ValueRange | None
    pieces: int | None
    pieces_dropped: int
    unit: str
    full_triangles: int
    samples: NDArray[np.float32]
    specks_dropped: int = 0
    mask_mm3: float | None = None


def part_report(rough: RoughPart, surface: Surface, edges: EdgeCheck, *, is_full: bool) -> PartReport:
    """Measure a finished part.

    Parameters
    ----------
    is_full : it is the isosurface as it was made.
    """
    deviation, thickness = _located(rough, surface, is_full=is_full)
    volume_mm3, area_mm2 = volume_and_area(surface)
    values = rough.values
    return PartReport(
        name=rough.part.name,
        color=rough.part.color,
        level=None if values is None else values.low,
        upper_level=None if values is None else values.high,
        unit=rough.unit,
        triangles=len(surface.triangles),
        vertices=len(surface.points),
        full_triangles=rough.full_triangles,
        pieces=rough.pieces,
        pieces_dropped=rough.pieces_dropped,
        specks_dropped=rough.specks_dropped,
        volume_mm3=round(volume_mm3, 3),
        mask_mm3=None if rough.mask_mm3 is None else round(rough.mask_mm3, 3),
        area_mm2=round(area_mm2, 3),
        bounding_box=bounding_box(surface),
        is_watertight=edges.is_watertight,
        edges=edges,
        deviation=deviation,
        thickness=thickness,
    )


def _located(rough: RoughPart, surface: Surface, *, is_full: bool) -> tuple[Deviation | None, Thickness | None]:
    """Measure what needs a search tree, unless that takes longer than all else."""
    if is_full and len(surface.triangles) > _MOST_SEARCHED:
        return _NO_DEVIATION, None
    if not len(surface.triangles):
        return None, None
    locator = SurfaceLocator(surface)
    return _NO_DEVIATION if is_full else locator.deviation(rough.samples), locator.thickness()


def notices(parts: Sequence[PartReport], most_triangles: int | None, most_mm: float | None = None) -> list[Notice]:
    """Return what the user should know of the parts.

    Parameters
    ----------
    most_triangles : how many were asked for at most, if so.
    most_mm : how far off the full surface was asked for at most, if so.
    """
    found = [notice for part in parts for notice in _part_notices(part)]
    for part in parts:
        if most_mm is None:
            continue
        if part.deviation is not None and _as_shown(part.deviation.max_mm) > _as_shown(most_mm):
            missed = {"part": part.name, "max_mm": part.deviation.max_mm, "wanted_mm": most_mm}
            found.append(Notice(code="deviation_missed", values=missed))
        if part.specks_dropped:
            dropped = {"part": part.name, "count": part.specks_dropped, "size_mm": 2 * most_mm}
            found.append(Notice(code="specks_dropped", values=dropped))
    triangles = sum(part.triangles for part in parts)
    if most_triangles is not None and triangles > most_triangles:
        found.append(Notice(code="target_missed", values={"triangles": triangles, "wanted": most_triangles}))
    return found


def _as_shown(value_mm: float) -> float:
    """Return a measure with the three digits that people see: what looks the same is not told as more."""
    return float(f"{value_mm:.3g}")


def _part_notices(part: PartReport) -> list[Notice]:
    found = []
    if not part.is_watertight:
        edges = part.edges.boundary_edges + part.edges.non_manifold_edges
        found.append(Notice(code="open_edges", values={"part": part.name, "edges": edges}))
    elif part.edges.welded_edges:
        found.append(Notice(code="touching_edges", values={"part": part.name, "edges": part.edges.welded_edges}))
    if part.mask_mm3 is not None and part.volume_mm3 < _LEAST_OF_MASK * part.mask_mm3:
        lost = {"part": part.name, "volume_mm3": part.volume_mm3, "mask_mm3": part.mask_mm3}
        found.append(Notice(code="volume_lost", values=lost))
    if part.thickness is not None and part.thickness.p01_mm < THIN_WALL_MM:
        found.append(Notice(code="thin_wall", values={"part": part.name, "p01_mm": part.thickness.p01_mm}))
    return found


def model_report(
    recipe: Recipe,
    provenance: Provenance,
    parts: Sequence[PartReport],
    *,
    found: Sequence[Notice],
    files: Sequence[ModelFile],
    seconds: dict[str, float],
    peak_memory_bytes: int,
) -> Report:
    """Put the report together."""
    return Report(
        study_instance_uid=provenance.study_instance_uid,
        series_instance_uid=provenance.series_instance_uid,
        frame_of_reference_uid=provenance.frame_of_reference_uid,
        modality=provenance.modality,
        sources=provenance.sources,
        recipe=recipe,
        versions=program_versions(),
        coordinates=recipe.coordinates.value,
        voxels=provenance.voxels,
        spacing_mm=provenance.spacing_mm,
        parts=tuple(parts),
        triangles=sum(part.triangles for part in parts),
        volume_mm3=round(sum(part.volume_mm3 for part in parts), 3),
        area_mm2=round(sum(part.area_mm2 for part in parts), 3),
        bounding_box=_around([part.bounding_box for part in parts]),
        is_watertight=all(part.is_watertight for part in parts),
        notices=(*provenance.notices, *found),
        files=tuple(files),
        seconds=seconds,
        peak_memory_bytes=peak_memory_bytes,
    )


def _around(boxes: Sequence[BoundingBox]) -> BoundingBox:
    low = np.min([box.low_mm for box in boxes], axis=0).tolist()
    high = np.max([box.high_mm for box in boxes], axis=0).tolist()
    return BoundingBox(low_mm=(low[0], low[1], low[2]), high_mm=(high[0], high[1], high[2]))


@cache
def program_versions() -> dict[str, str]:
    """Return the versions of the programs that decide what a model looks like."""
    return {name: metadata.version(name) for name in _PROGRAMS}
