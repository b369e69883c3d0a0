"""A coarse model at once, for the eye alone: a shrunk volume, kept warm, and slivers and detail left out."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from pacs.mesh.errors import EmptyPart
from pacs.mesh.pipeline import ModelSource
from pacs.mesh.recipe import MaskSelection, Part, Recipe, RoiSelection, SegmentSelection
from pacs.mesh.selection import select
from pacs.mesh.surface import Surface, coarsened, extract
from pacs.mesh.volume import Geometry, Volume
from pacs.mesh.writers import Model, NamedSurface, glb

MOST_VOXELS = 256**3
# 24 bytes each in GLB: less than 5 MB in all.
MOST_TRIANGLES = 150_000
_MOST_KEPT = 3
# Of the triangles of an isosurface, what clustering on each lattice point leaves.
_LEFT_BY_CLUSTERING = 0.6


class _Kept:
    """The volumes used last, in the warm process. One thread only."""

    def __init__(self) -> None:
        self._volumes: OrderedDict[Hashable, Volume] = OrderedDict()

    def find(self, key: Hashable) -> Volume | None:
        """Return what is kept under `key`."""
        if key in self._volumes:
            self._volumes.move_to_end(key)
        return self._volumes.get(key)

    def put(self, key: Hashable, volume: Volume) -> Volume:
        """Keep `volume`, and forget the one used longest ago if there are too many."""
        self._volumes[key] = volume
        while len(self._volumes) > _MOST_KEPT:
            self._volumes.popitem(last=False)
        return volume


_kept = _Kept()


def make(source: ModelSource, content: str, recipe: Recipe) -> bytes:
    """Return a coarse model of `recipe` as GLB, less than 5 MB. Smoothing and reduction of the recipe are not heeded.

    Parameters
    ----------
    content : stands for what is in `source`; shrunk volumes are kept by it.

    Raises
    ------
    MeshError : nothing can be made of it; its kinds say why.
    """
    surfaces = [_surface(source, content, recipe, part) for part in recipe.parts]
    most = MOST_TRIANGLES // len(surfaces)
    parts = zip(recipe.parts, surfaces, strict=True)
    named = tuple(NamedSurface(part.name, part.color_rgb, _coarse(*found, most)) for part, found in parts)
    return b"".join(glb.pieces(Model(named)))


def _surface(
    source: ModelSource, content: str, recipe: Recipe, part: Part
) -> tuple[Surface, np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    volume = _volume(source, content, recipe, part)
    selected = select(part, recipe, volume)
    surface = extract(selected.field)
    if not len(surface.triangles):
        raise EmptyPart("There is nothing to be seen with these values.", remedy="Choose others.")
    return surface, selected.affine


def _coarse(surface: Surface, affine: np.ndarray[tuple[int, int], np.dtype[np.float64]], most: int) -> Surface:
    step = max(1, math.ceil(math.sqrt(len(surface.triangles) * _LEFT_BY_CLUSTERING / most)))
    return coarsened(surface, step).moved(affine)


def _volume(source: ModelSource, content: str, recipe: Recipe, part: Part) -> Volume:
    if not isinstance(part.select, SegmentSelection | RoiSelection):
        return _images(source, content, recipe.sub_volume)
    # A region has the grid of the images, a segment one of its own.
    key = (content, part.select, recipe.sub_volume if isinstance(part.select, RoiSelection) else None)
    return _kept.find(key) or _kept.put(key, _mask(source, content, recipe.sub_volume, part.select))


def _images(source: ModelSource, content: str, sub_volume: str | None) -> Volume:
    key = (content, sub_volume)
    kept = _kept.find(key)
    if kept is not None:
        return kept
    scale = _scale(source.shape(sub_volume))
    volume = source.volume(sub_volume, scale=scale, progress=lambda _fraction: None, cancelled=lambda: False)
    return _kept.put(key, volume)


def _mask(source: ModelSource, content: str, sub_volume: str | None, select: MaskSelection) -> Volume:
    """Return a mask, with voxels left out if there are too many."""
    reference = _images(source, content, sub_volume) if isinstance(select, RoiSelection) else None
    mask = source.mask(select, reference)
    scale = _scale(mask.voxels.shape)
    if scale == 1:
        return mask
    affine = mask.geometry.affine @ np.diag([scale, scale, scale, 1.0])
    return replace(mask, voxels=mask.voxels[::scale, ::scale, ::scale].copy(), geometry=Geometry(affine))


def _scale(shape: tuple[int, ...]) -> int:
    """Return the power of two that makes a volume small enough."""
    scale = 1
    while math.prod(shape) > MOST_VOXELS * scale**3:
        scale *= 2
    return scale
