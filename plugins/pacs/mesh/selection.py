"""From a part of a recipe to the field of which its surface is made, and where that lies in the patient."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.errors import EmptyPart
from pacs.mesh.field import MASK_MARGIN, BoxField, ClosedField, Field, MaskField, Shape, Slab, threshold_field
from pacs.mesh.measuring import volume_and_area
from pacs.mesh.parts import Pieces, find_pieces
from pacs.mesh.recipe import Box, Keep, Part, Recipe, RoiSelection, SegmentSelection
from pacs.mesh.surface import extract
from pacs.mesh.tissue import ValueRange, value_range
from pacs.mesh.volume import Volume

_MASK_EDGE_VOXELS = 4
_MASK_CONTRAST = 1.0
_LARGE_MASK_VOXELS = 500_000
_LEVEL_STEP = 0.05
_MOST_LEVEL = 0.9 * MASK_MARGIN
_BOX_EDGE_VOXELS = 2


@dataclass(frozen=True)
class Selected:
    """A field and its place.

    Attributes
    ----------
    affine : (column, row, slice, 1) of the field -> LPS mm.
    values : real values that were selected; None for masks.
    pieces, pieces_dropped : connected pieces that stayed and that were taken away; None if nobody asked for them.
    mask_mm3 : what the voxels of a mask fill; None for others, and where the mask was changed.
    """

    field: Field
    affine: NDArray[np.float64]
    values: ValueRange | None
    pieces: int | None = None
    pieces_dropped: int = 0
    mask_mm3: float | None = None


def select(part: Part, recipe: Recipe, volume: Volume, check: Callable[[], None] = lambda: None) -> Selected:
    """Return the field of `part`.

    Parameters
    ----------
    volume : images, or the mask that the part asks for.
    check : called now and then; raises if it is not wanted any more.

    Raises
    ------
    InvalidInput : a preset of CT for something else.
    EmptyPart : nothing is selected.
    """
    whole = _mask(volume) if isinstance(part.select, SegmentSelection | RoiSelection) else _tissue(part, recipe, volume)
    dropped = 0
    if whole.values is not None and whole.values.is_enclosed:
        pieces = find_pieces(whole.field, check=check)
        whole = _kept(whole, pieces, ~pieces.at_sides)
        dropped = whole.pieces_dropped
    field = whole.field
    if recipe.box_mm is not None:
        field = BoxField(field, whole.affine, recipe.box_mm, _contrast(volume, whole.values))
    reach = _closing_reach(recipe.close_holes_mm, volume)
    if any(reach):
        field = ClosedField(field, reach)
    mask_mm3 = whole.mask_mm3 if field is whole.field else None
    selected = Selected(field, whole.affine, whole.values, whole.pieces, dropped, mask_mm3)
    if recipe.keep is Keep.ALL and not recipe.min_volume_mm3:
        return selected
    pieces = find_pieces(field, check=check)
    found = _kept(selected, pieces, _wanted(pieces, recipe, volume))
    return Selected(found.field, found.affine, found.values, found.pieces, found.pieces_dropped + dropped)


def _tissue(part: Part, recipe: Recipe, volume: Volume) -> Selected:
    values = value_range(part.select, volume)  # type: ignore[arg-type]  # masks are elsewhere
    voxels, affine = volume.voxels, volume.geometry.affine
    if recipe.box_mm is not None and not values.is_enclosed:
        voxels, affine = _cropped(voxels, affine, _index_box(volume, recipe.box_mm))
    return Selected(threshold_field(volume, voxels, values.low, values.high), affine, values)


def _mask(volume: Volume) -> Selected:
    # Of fractions what is half filled is in: the surface is at 0.5.
    least = math.ceil(round(volume.stored(0.5), 6))
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        used = np.flatnonzero(volume.voxels.max(axis=others) >= least)
        if not len(used):
            raise EmptyPart("Expected voxels in the segment, found none.", remedy="Choose another one.")
        first, last = int(used[0]) - _MASK_EDGE_VOXELS, int(used[-1]) + _MASK_EDGE_VOXELS + 1
        box.append((max(0, first), min(volume.voxels.shape[axis], last)))
    voxels, affine = _cropped(volume.voxels, volume.geometry.affine, box)
    filled = sum(int(np.count_nonzero(one >= least)) for one in voxels)
    field = MaskField(voxels, _level_of_same_volume(voxels, least, filled), least)
    return Selected(field, affine, None, mask_mm3=filled * volume.geometry.voxel_volume_mm3)


def _level_of_same_volume(mask: Slab, least: int, wanted: int) -> float:
    """Return the level at which the surface encloses as much as the voxels fill, as near as voxels keep their side.

    A blurred body is smaller, the more so the smaller it is; large ones are not, within 3 in 1000.

    Parameters
    ----------
    wanted : how many voxels are in.
    """
    if wanted > _LARGE_MASK_VOXELS:
        return 0.0
    low, high = (volume_and_area(extract(MaskField(mask, level, least)))[0] for level in (-_LEVEL_STEP, 0.0))
    return float(np.clip(_LEVEL_STEP * (high - wanted) / (low - high), -_MOST_LEVEL, _MOST_LEVEL))


def _cropped(voxels: Slab, affine: NDArray[np.float64], box: list[tuple[int, int]]) -> tuple[Slab, NDArray[np.float64]]:
    """Cut a range of slices, rows and columns out."""
    (slices, rows, columns) = (slice(first, last) for first, last in box)
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ [box[2][0], box[1][0], box[0][0]] + affine[:3, 3]
    return voxels[slices, rows, columns], moved


def _index_box(volume: Volume, box: Box) -> list[tuple[int, int]]:
    """Return the ranges of slices, rows and columns that hold the corners of `box`, with an edge of voxels around."""
    corners = np.array([(x, y, z, 1.0) for x in box.x_mm for y in box.y_mm for z in box.z_mm])
    indices = (corners @ np.linalg.inv(volume.geometry.affine).T)[:, 2::-1]
    ranges = []
    for low, high, size in zip(indices.min(axis=0), indices.max(axis=0), volume.voxels.shape, strict=True):
        first = max(0, math.floor(low) - _BOX_EDGE_VOXELS)
        last = min(size, math.ceil(high) + _BOX_EDGE_VOXELS + 1)
        if last - first <= 1:
            raise EmptyPart("The box lies outside of the images.", remedy="Choose it within them, in mm, LPS.")
        ranges.append((first, last))
    return ranges


def _contrast(volume: Volume, values: ValueRange | None) -> float:
    if values is None:
        return _MASK_CONTRAST
    step = max(1, volume.voxels.shape[0] // 16)
    return max(1.0, float(volume.voxels[::step, ::8, ::8].std(dtype=np.float64)))


def _closing_reach(close_holes_mm: float, volume: Volume) -> Shape:
    across, down, up = (math.ceil(close_holes_mm / 2 / step - 0.5) for step in volume.geometry.spacing_mm)
    return up, down, across


def _wanted(pieces: Pieces, recipe: Recipe, volume: Volume) -> NDArray[np.bool_]:
    wanted = pieces.voxels * volume.geometry.voxel_volume_mm3 >= recipe.min_volume_mm3
    if recipe.keep is Keep.LARGEST and len(wanted):
        wanted &= np.arange(len(wanted)) == int(pieces.voxels.argmax())
    return wanted


def _kept(selected: Selected, pieces: Pieces, wanted: NDArray[np.bool_]) -> Selected:
    if not wanted.any():
        largest = int(pieces.voxels.max()) if len(pieces.voxels) else 0
        raise EmptyPart(
            f"Of {len(wanted)} connected pieces none is wanted, the largest has {largest} voxels.",
            remedy="Keep smaller pieces, or choose other values.",
        )
    kept = int(wanted.sum())
    field = pieces.without(selected.field, ~wanted)
    return Selected(field, selected.affine, selected.values, kept, len(wanted) - kept)
