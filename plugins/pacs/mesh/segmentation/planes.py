"""Which slice takes which plane of contours."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Planes further apart than this many times the usual distance have nothing between them.
_APART: Final = 1.5
_ROUNDING: Final = 1e-3


def plane_of_slices(planes: NDArray[np.float64], slices: int) -> NDArray[np.intp]:
    """Return for each slice the index of the plane that it takes, -1 for none; shape (slices,).

    A slice takes the nearest plane. A plane reaches half the usual distance between planes, or half way to its neighbor
    if that is not much further: contours drawn on every second or third slice fill those between.

    Parameters
    ----------
    planes : shape (planes,), where they lie in slices, increasing.
    """
    usual = max(float(np.median(np.diff(planes))), 1.0) if len(planes) > 1 else 1.0
    reach = np.full((len(planes), 2), usual / 2)
    gaps = np.diff(planes)
    near = gaps <= _APART * usual
    reach[:-1, 1][near] = gaps[near] / 2
    reach[1:, 0][near] = gaps[near] / 2
    away = np.arange(slices)[:, None] - planes
    # The slice half way between two belongs to the lower one.
    is_reached = (away > -reach[:, 0] + _ROUNDING) & (away <= reach[:, 1] + _ROUNDING)
    nearest = np.where(is_reached, np.abs(away), np.inf).argmin(axis=1)
    return np.where(is_reached.any(axis=1), nearest, -1)
