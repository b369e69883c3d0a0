"""Chest radiographs, projected through the trunk phantom: what a storage phosphor plate would have read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacs.demo.canvas import Array, Grid
from pacs.demo.noise import NoiseBank
from pacs.demo.trunk import render_trunk

PIXEL_MM = 0.2
BITS = 12
_ROWS = 1800
_POSTERO_ANTERIOR_COLUMNS = 1760
_LATERAL_COLUMNS = 1500
# Attenuation of water for the effective energy of a chest radiograph (about 60 keV), per millimeter.
_WATER_PER_MM = 0.0195
_VOXEL_MM = 1.15
_TOP_Z = 486.0


@dataclass(frozen=True)
class ChestRadiographs:
    """Both standard views, 12 bit, high where much was absorbed (bones); rows run from head to foot.

    Attributes
    ----------
    postero_anterior : the patient's right side is on the left.
    left_lateral : the patient looks to the left.
    """

    postero_anterior: NDArray[np.uint16]
    left_lateral: NDArray[np.uint16]


def chest_radiographs() -> ChestRadiographs:
    """Project the trunk phantom along y and along x."""
    counts = tuple(int(length / _VOXEL_MM) for length in (_POSTERO_ANTERIOR_COLUMNS * PIXEL_MM, 236, _ROWS * PIXEL_MM))
    first = -_VOXEL_MM * (counts[0] - 1) / 2, -118.0, _TOP_Z - counts[2] * _VOXEL_MM
    grid = Grid(first, (_VOXEL_MM, _VOXEL_MM, _VOXEL_MM), (counts[0], counts[1], counts[2]))
    attenuation = _attenuation(render_trunk(grid, table=False))
    front, side = (attenuation.sum(axis=axis)[::-1] * np.float32(_VOXEL_MM) for axis in (1, 2))
    margin = int((_LATERAL_COLUMNS * PIXEL_MM / _VOXEL_MM - counts[1]) / 2)
    side = np.pad(side, ((0, 0), (margin, margin)))
    return ChestRadiographs(_plate(front, _POSTERO_ANTERIOR_COLUMNS), _plate(side, _LATERAL_COLUMNS))


def _attenuation(hounsfield: Array) -> Array:
    """Return the attenuation per millimeter: no contrast medium here, and bone weighs more than in CT."""
    bone = np.maximum(hounsfield - np.float32(330), 0)
    np.clip(hounsfield, -1000, 80, out=hounsfield)
    hounsfield += 1000
    bone *= np.float32(2.4)
    hounsfield += bone
    hounsfield *= np.float32(_WATER_PER_MM / 1000)
    return hounsfield


def _plate(paths: Array, columns: int) -> NDArray[np.uint16]:
    """Turn line integrals into the plate's pixels, shape (1800, columns)."""
    plate = np.asarray(Image.fromarray(paths).resize((columns, _ROWS), Image.Resampling.BICUBIC))
    plate = _compressed(plate)
    low, high = np.percentile(plate[::8, ::8], (1, 99.8))
    levels = (plate - low) / (high - low)
    # The fewer quanta arrive, the grainier the picture.
    levels += NoiseBank(77).plane(columns, levels.shape, 0.006) * (np.float32(0.5) + levels)
    levels = np.clip(levels * np.float32(0.93) + np.float32(0.035), 0, 1)
    return _collimated(levels * np.float32(2**BITS - 1)).astype(np.uint16)


def _compressed(plate: Array) -> Array:
    """Flatten the wide differences (mediastinum to lung) and keep the fine ones, as radiography workstations do."""
    small = Image.fromarray(plate).resize((30, 36), Image.Resampling.BOX)
    broad = np.asarray(small.resize(plate.shape[::-1], Image.Resampling.BICUBIC), np.float32)
    flattened: Array = plate - np.float32(0.4) * broad
    return flattened


def _collimated(plate: Array) -> Array:
    """Blank the border that the collimator's blades cover."""
    framed = np.zeros_like(plate)
    rows, columns = plate.shape
    inside = slice(rows // 60, rows - rows // 60), slice(columns // 50, columns - columns // 50)
    framed[inside] = plate[inside]
    return framed
