"""Slices of even gaps from slices of uneven ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.volume import Voxels


def interpolate(read: Voxels, places: NDArray[np.float64], target: Voxels, wanted: NDArray[np.float64]) -> None:
    """Fill `target` with what lies at the places `wanted`, linear between the two slices around each.

    Parameters
    ----------
    read : shape (slices, rows, columns).
    places : shape (slices,), where they lie, increasing; `wanted` likewise for `target`.
    """
    lower = np.clip(np.searchsorted(places, wanted, side="right") - 1, 0, len(places) - 2)
    shares = np.clip((wanted - places[lower]) / (places[lower + 1] - places[lower]), 0, 1)
    for index, (below, share) in enumerate(zip(lower.tolist(), shares.tolist(), strict=True)):
        target[index] = _between(read[below], read[below + 1], share)


def _between(first: NDArray[Any], second: NDArray[Any], share: float) -> NDArray[Any]:
    mixed = first * np.float32(1 - share) + second * np.float32(share)
    return np.rint(mixed) if first.dtype.kind in "iu" else mixed
