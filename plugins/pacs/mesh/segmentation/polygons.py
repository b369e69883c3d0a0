"""Closed polygons to pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rasterised(polygons: Sequence[NDArray[np.float64]], rows: int, columns: int) -> NDArray[np.uint8]:
    """Return which pixels have their center within an odd number of polygons, shape (rows, columns), 0 or 1.

    So a polygon within another is a hole, one within the hole is none again, and the two sides of a keyhole, which run
    along each other, leave nothing between them.

    Parameters
    ----------
    polygons : of shape (points, 2) each: column and row, where pixel centers are whole numbers; each is closed from its
        last point to its first.
    """
    points = np.concatenate(polygons)
    left, top = np.floor(points.min(axis=0)).clip(0, (columns, rows)).astype(int).tolist()
    right, bottom = np.ceil(points.max(axis=0)).clip(0, (columns, rows)).astype(int).tolist()
    pixels = np.zeros((rows, columns), np.uint8)
    moved = [polygon - (left, top) for polygon in polygons]
    pixels[top:bottom, left:right] = _within(moved, bottom - top, right - left)
    return pixels


def _within(polygons: Sequence[NDArray[np.float64]], rows: int, columns: int) -> NDArray[np.uint8]:
    """Count for each pixel the edges to its left: where they are odd it is inside."""
    starts = np.concatenate(polygons)
    ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    upper, lower = _downwards(starts, ends)
    first = np.ceil(upper[:, 1]).clip(0, rows).astype(np.intp)
    counts = np.ceil(lower[:, 1]).clip(0, rows).astype(np.intp) - first
    edges = np.repeat(np.arange(len(upper)), counts)
    row = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edges]
    slope = (lower[edges, 0] - upper[edges, 0]) / (lower[edges, 1] - upper[edges, 1])
    column = np.ceil(upper[edges, 0] + (row - upper[edges, 1]) * slope).clip(0, columns).astype(np.intp)
    crossings = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1)).reshape(rows, columns + 1)
    return np.bitwise_xor.accumulate((crossings & 1).astype(np.uint8)[:, :columns], axis=1)


def _downwards(
    starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Turn each edge the same way whichever way it is walked: then it crosses a row in exactly the same place."""
    is_upwards = (starts[:, 1] > ends[:, 1])[:, None]
    return np.where(is_upwards, ends, starts), np.where(is_upwards, starts, ends)
