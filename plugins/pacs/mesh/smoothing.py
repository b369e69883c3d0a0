"""A windowed sinc filter on the surface: takes the noise of voxels away and does not shrink.

Source: Taubin, Zhang, Golub, "Optimal Surface Smoothing as Filter Design", ECCV 1996. As in VTK's filter of this name,
the window is Hamming's and the pass band is widened until its end is let through whole; constants are kept exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from scipy import sparse

from pacs.mesh.surface import Surface

_THREADS = 2
_BISECTIONS = 50


def smoothed(surface: Surface, iterations: int, pass_band: float, check: Callable[[], None] = lambda: None) -> Surface:
    """Return `surface` low-pass filtered.

    The filter is a polynomial of degree `iterations` in K = 1 - W, W the mean of a vertex's neighbors. It is applied
    to the differences between vertex and neighbors, which are small, so that float32 is exact enough.

    Parameters
    ----------
    surface : closed, so that each edge is there in both directions.
    pass_band : 0 to 2, the frequency up to which the shape is kept.
    check : called now and then; raises if it is not wanted any more.
    """
    if not iterations or not len(surface.triangles):
        return surface
    neighbors = _Neighbors(surface)
    weights = _difference_weights(iterations, pass_band)
    with ThreadPoolExecutor(_THREADS) as pool:
        rough = surface.points - neighbors.mean(surface.points, pool)
        moved = _chebyshev_sum(weights, rough, lambda values: neighbors.mean(values, pool), check)
    return Surface(surface.points + moved, surface.triangles)


class _Neighbors:
    """The matrix W, in blocks of rows, one for each thread."""

    def __init__(self, surface: Surface) -> None:
        count = len(surface.points)
        one = surface.triangles.reshape(-1)
        other = surface.triangles[:, [1, 2, 0]].reshape(-1)
        matrix = sparse.coo_array((np.ones(len(one), np.float32), (one, other)), shape=(count, count)).tocsr()
        degrees = np.diff(matrix.indptr)
        matrix.data = np.repeat(np.float32(1) / np.maximum(degrees, 1).astype(np.float32), degrees)
        bounds = np.linspace(0, count, _THREADS + 1).astype(int)
        self._blocks = [matrix[start:stop] for start, stop in pairwise(bounds.tolist())]

    def mean(self, values: NDArray[np.float32], pool: ThreadPoolExecutor) -> NDArray[np.float32]:
        """Return of each vertex the mean of `values` at its neighbors."""
        return np.concatenate(list(pool.map(lambda block: block @ values, self._blocks)))


def _chebyshev_sum(
    weights: NDArray[np.float32],
    values: NDArray[np.float32],
    mean: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    check: Callable[[], None],
) -> NDArray[np.float32]:
    """Return the sum of weights[n] T_n((1 + W) / 2) values, by T_n+1(t) = 2 t T_n(t) - T_n-1(t)."""
    total: NDArray[np.float32] = values * weights[0]
    before, now = values, (values + mean(values)) * np.float32(0.5)
    for weight in weights[1:]:
        check()
        total += now * weight
        # In place: these arrays are as large as the surface.
        after = mean(now)
        after += now
        after -= before
        before, now = now, after
    return total


@cache
def _difference_weights(iterations: int, pass_band: float) -> NDArray[np.float32]:
    """Return the weights of (f(K) - 1) / K, f the filter, in Chebyshev polynomials of t = 1 - K / 2."""
    low, high = float(np.arccos(1 - pass_band / 2)), np.pi
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        passed = chebyshev.chebval(1 - pass_band / 2, _sinc_weights(iterations, middle))
        low, high = (low, middle) if passed >= 1 else (middle, high)
    weights = _sinc_weights(iterations, high)
    weights[0] -= 1
    quotient, _ = chebyshev.chebdiv(weights, [2, -2])
    return np.asarray(quotient, dtype=np.float32)


def _sinc_weights(iterations: int, cutoff: float) -> NDArray[np.float64]:
    orders = np.arange(1, iterations + 1)
    window = 0.54 + 0.46 * np.cos(np.pi * orders / (iterations + 1))
    weights = np.concatenate(([cutoff / np.pi], window * 2 * np.sin(orders * cutoff) / (orders * np.pi)))
    return np.asarray(weights / weights.sum(), dtype=np.float64)  # T_n(1) = 1: f(0) becomes 1
