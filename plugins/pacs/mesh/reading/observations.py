"""What is noticed of the values while they are read, slice by slice, because it costs next to nothing there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.volume import VolumeWarning

# Enamel reaches some 3000 HU at most, titanium and steel go beyond what 12 bits hold.
METAL_HU: Final = 3000.0
_METAL_VOXELS: Final = 20
# Soft tissue, not fat, clothes or a table's foam.
BODY_HU: Final = -150.0
# Darker than air: what scanners write where they did not reconstruct.
_NOT_MEASURED_HU: Final = -1100.0
# The body is cut off where more of the border than this shows it, in more of the slices than this.
_CUT_OF_BORDER: Final = 0.04
_CUT_OF_SLICES: Final = 0.02


@dataclass(frozen=True, slots=True)
class Observation:
    """Of one slice: its smallest and largest voxel, voxels like metal, whether the body reaches its border."""

    smallest: float
    largest: float
    metal_voxels: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Levels:
    """Limits in HU as voxel values."""

    metal: float
    body: float
    not_measured: float


def observed(samples: NDArray[Any], levels: Levels | None) -> Observation:
    """Look at the voxels of a slice, shape (rows, columns); without `levels` they are in no unit that says anything."""
    smallest, largest = float(samples.min()), float(samples.max())
    if levels is None:
        return Observation(smallest, largest, 0, is_cut=False)
    metal = int(np.count_nonzero(samples >= levels.metal)) if largest >= levels.metal else 0
    border = _border(samples.shape[0], samples.shape[1], is_round=_is_round(samples, levels))
    at_border = (
        samples.ravel()[border] if samples.flags.c_contiguous else samples[np.unravel_index(border, samples.shape)]
    )
    return Observation(smallest, largest, metal, bool(np.mean(at_border > levels.body) > _CUT_OF_BORDER))


def _is_round(samples: NDArray[Any], levels: Levels) -> bool:
    """Whether only a circle was reconstructed."""
    corners = samples[0, 0], samples[0, -1], samples[-1, 0], samples[-1, -1]
    return all(corner <= levels.not_measured for corner in corners)


@lru_cache(maxsize=8)
def _border(rows: int, columns: int, *, is_round: bool) -> NDArray[np.intp]:
    """Return the flat indices of the outermost pixels, of the field or of the circle in it."""
    down, across = np.ogrid[:rows, :columns]
    if is_round:
        radius = min(rows, columns) / 2 - 2
        away = np.hypot(down - (rows - 1) / 2, across - (columns - 1) / 2)
        return np.flatnonzero((away <= radius) & (away > radius - 1))
    is_border = (down == 0) | (down == rows - 1) | (across == 0) | (across == columns - 1)
    return np.flatnonzero(is_border)


def warnings_of(observations: Iterable[Observation], unit: str) -> Iterator[VolumeWarning]:
    """Give what the slices together are a reason to warn of."""
    seen = list(observations)
    if unit != "HU":
        return
    metal = sum(one.metal_voxels for one in seen)
    if metal >= _METAL_VOXELS:
        yield VolumeWarning("metal", {"voxels": metal, "above_hu": METAL_HU})
    cut = sum(one.is_cut for one in seen)
    if cut > _CUT_OF_SLICES * len(seen):
        yield VolumeWarning("truncated_field_of_view", {"slices": cut})
