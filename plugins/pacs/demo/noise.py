"""Noise with the grain of a reconstruction kernel, cheap enough for hundreds of slices."""

from __future__ import annotations

import numpy as np

from pacs.demo.canvas import Array

_SIDE = 2048


class NoiseBank:
    """One large plane of noise, from which each slice takes its own cut-out.

    Drawing tens of millions of random numbers would take longer than painting the phantom, and nobody sees that slices
    share their grain at different places.
    """

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        plane = random.standard_normal((_SIDE, _SIDE), np.float32)
        for axis in (0, 1):
            plane = plane + np.float32(0.6) * (np.roll(plane, 1, axis) + np.roll(plane, -1, axis))
        self._plane: Array = plane / plane.std()
        self._seed = seed

    def plane(self, number: int, shape: tuple[int, ...], deviation: float) -> Array:
        """Return the noise of slice `number`, shape (rows, columns), with the standard `deviation`."""
        rows, columns = shape
        top, left = np.random.default_rng((self._seed, number)).integers(0, (_SIDE - rows + 1, _SIDE - columns + 1))
        cut = self._plane[top : top + rows, left : left + columns]
        return (cut[::-1] if number % 2 else cut) * np.float32(deviation)
