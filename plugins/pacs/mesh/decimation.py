"""Fewer triangles for the same shape: edges are collapsed by quadric errors (Garland, Heckbert 1997).

The library (fast_simplification) wants some 275 bytes a triangle and is slow on what does not fit the caches, so the
surface is taken in chunks whose borders stay as they are; a second pass has its borders elsewhere. Two processes share
the chunks; the result does not depend on that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from pacs.mesh.check import taken_apart
from pacs.mesh.fork import Helper
from pacs.mesh.measuring import SurfaceLocator
from pacs.mesh.surface import Surface

_CHUNK_TRIANGLES = 60_000
_FIRST_PASS = 2.0
_MOST_PASSES = 4
_ENDS_OF_ONE = 2
_AGGRESSIVENESS = 7.0
# The library allows an error of 1e-9 (n + 3) ^ aggressiveness in its n-th of 100 rounds, squared, without units.
_BOUNDED_AGGRESSIVENESS = 0.5
_LAST_ROUND_ERROR = 1e-9 * 102.0**_BOUNDED_AGGRESSIVENESS
_HEADROOM_BYTES = 2**20
# Quadric errors as multiples of the deviation that is allowed, and points at which that is measured.
_ERRORS_TRIED = (1.5, 1.0, 0.6, 0.3)
_SAMPLES = 10_000

# Takes triangles from a chunk: (points float64, triangles int32) -> the same. Vertices at open edges stay first.
type _Reducer = Callable[[NDArray[np.float64], NDArray[np.int32]], tuple[NDArray[np.float64], NDArray[np.int32]]]


def reduced_to(surface: Surface, triangles: int, check: Callable[[], None] = lambda: None) -> Surface:
    """Return `surface` with at most `triangles` triangles; with more, where no edge can go without harm.

    Parameters
    ----------
    check : called now and then; raises if it is not wanted any more.
    """
    for number in range(_MOST_PASSES):
        now = len(surface.triangles)
        if now <= triangles:
            break
        wanted = triangles * _FIRST_PASS if number == 0 and now > triangles * 1.5 * _FIRST_PASS else triangles
        wanted = triangles if now <= _CHUNK_TRIANGLES else wanted
        surface = _pass(surface, _to_share(wanted / now), is_shifted=number % 2 == 1, check=check)
    return surface


def reduced_within(surface: Surface, deviation_mm: float, check: Callable[[], None] = lambda: None) -> Surface:
    """Return `surface`, in mm, with few triangles, nowhere farther than `deviation_mm` from what it was.

    The quadric error is the root of the summed squares of distances from the planes of all triangles that were taken
    away, so surfaces come out about half as far off as it allows. That is measured, both ways, and a smaller error
    tried where it was too much. Where each is, `surface` stays as it is: few triangles could go in any case.
    """
    points = _points_of_bodies(surface, deviation_mm)
    for factor in _ERRORS_TRIED:
        reduced = _reduced_by_error(surface, factor * deviation_mm, check)
        if _farthest(surface, points, reduced) <= deviation_mm:
            return reduced
    return surface


def _points_of_bodies(surface: Surface, deviation_mm: float) -> NDArray[np.float32]:
    """Return some points of all bodies but specks so small that they may vanish."""
    one, other = surface.triangles[:, [0, 1]].reshape(-1), surface.triangles[:, [1, 2]].reshape(-1)
    count = len(surface.points)
    graph = sparse.coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(count, count))
    bodies, labels = csgraph.connected_components(graph, directed=False)
    low, high = np.full((bodies, 3), np.inf), np.full((bodies, 3), -np.inf)
    np.minimum.at(low, labels, surface.points)
    np.maximum.at(high, labels, surface.points)
    is_speck = np.linalg.norm(high - low, axis=1) <= 2 * deviation_mm
    points: NDArray[np.float32] = surface.points[~is_speck[labels]]
    return points[:: max(1, len(points) // _SAMPLES)]


def _farthest(surface: Surface, points: NDArray[np.float32], reduced: Surface) -> float:
    """Return the largest distance of `points` of `surface` from `reduced` and of points of that from `surface`."""
    if not len(points):
        return 0.0
    if not len(reduced.triangles):
        return np.inf
    theirs = reduced.points[:: max(1, len(reduced.points) // _SAMPLES)]
    pairs = ((reduced, points), (surface, theirs))
    return max(SurfaceLocator(there).deviation(here).max_mm for there, here in pairs)


def _reduced_by_error(surface: Surface, error_mm: float, check: Callable[[], None]) -> Surface:
    shifts = (False, True) if len(surface.triangles) > _CHUNK_TRIANGLES else (False,)
    for is_shifted in shifts:
        surface = _pass(surface, _within(error_mm), is_shifted=is_shifted, check=check)
    return surface


def _to_share(share: float) -> _Reducer:
    def reduce(
        points: NDArray[np.float64], triangles: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        return _simplify(points, triangles, int(len(triangles) * share), _AGGRESSIVENESS)

    return reduce


def _within(error_mm: float) -> _Reducer:
    scale = float(np.sqrt(_LAST_ROUND_ERROR)) / error_mm

    def reduce(
        points: NDArray[np.float64], triangles: NDArray[np.int32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        fewer, corners = _simplify(points * scale, triangles, 0, _BOUNDED_AGGRESSIVENESS)
        return fewer / scale, corners

    return reduce


def _simplify(
    points: NDArray[np.float64], triangles: NDArray[np.int32], wanted: int, aggressiveness: float
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    fewer, corners = fast_simplification.simplify(
        points, triangles, target_count=wanted, agg=aggressiveness, preserve_border=True
    )
    return np.asarray(fewer, np.float64), np.asarray(corners, np.int32)


@dataclass(frozen=True)
class _Chunk:
    """Some of the triangles, with vertices numbered anew.

    Attributes
    ----------
    border : numbers in the whole surface of the first vertices, which are on edges that other chunks have, too.
    """

    points: NDArray[np.float64]
    triangles: NDArray[np.int32]
    border: NDArray[np.int64]


def _pass(surface: Surface, reduce: _Reducer, *, is_shifted: bool, check: Callable[[], None]) -> Surface:
    bounds = _bounds(len(surface.triangles), is_shifted=is_shifted)
    if len(bounds) == _ENDS_OF_ONE:
        points, triangles = reduce(surface.points.astype(np.float64), surface.triangles)
        return Surface(points.astype(np.float32), triangles)
    splitter = _Splitter(surface, bounds)
    if splitter.has_odd_edges:
        mended = taken_apart(surface)
        splitter = _Splitter(mended, _bounds(len(mended.triangles), is_shifted=is_shifted))

    def work(numbers: range) -> list[NDArray[np.float32] | NDArray[np.int32]]:
        done: list[NDArray[np.float32] | NDArray[np.int32]] = []
        for number in numbers:
            check()
            done += _reduced_chunk(splitter.chunk(number), reduce)
        return done

    return splitter.joined(_shared_out(work, splitter.count, surface))


def _bounds(count: int, *, is_shifted: bool) -> NDArray[np.int64]:
    chunks = -(-count // _CHUNK_TRIANGLES)
    chunks += chunks > 1 and chunks % 2  # every other one is the second process's: each has half of the triangles
    edges = np.linspace(0, count, chunks + 1)
    if is_shifted:
        edges = np.concatenate(([0.0], (edges[1:] + edges[:-1]) / 2, [float(count)]))
    return edges.astype(np.int64)


def _shared_out(
    work: Callable[[range], list[NDArray[np.float32] | NDArray[np.int32]]], chunks: int, surface: Surface
) -> list[NDArray[np.float32] | NDArray[np.int32]]:
    """Do the chunks, points and triangles of each, every other one in a second process."""
    if len(os.sched_getaffinity(0)) == 1:
        return work(range(chunks))
    most_bytes = surface.points.nbytes + surface.triangles.nbytes + _HEADROOM_BYTES
    with Helper(lambda: work(range(1, chunks, 2)), most_bytes) as helper:
        done = work(range(0, chunks, 2))
        theirs = helper.result()
        for number, part in enumerate(theirs):
            kind = np.int32 if number % 2 else np.float32
            # Arrays come in pairs: those of our chunk are before, those of the next one behind.
            done.insert(number + 2 * (number // 2) + 2, np.frombuffer(part, kind).reshape(-1, 3).copy())  # type: ignore[arg-type]
        return done


def _reduced_chunk(chunk: _Chunk, reduce: _Reducer) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    points, triangles = reduce(chunk.points, chunk.triangles)
    count = len(chunk.border)
    fixed = chunk.points[:count]
    if not np.allclose(points[:count], fixed, rtol=1e-12, atol=1e-9):
        raise RuntimeError("A vertex between two chunks was moved: the library does not preserve borders.")
    return points.astype(np.float32), triangles


class _Splitter:
    """Cuts a surface into chunks of neighboring triangles and puts them together again.

    Attributes
    ----------
    has_odd_edges : three triangles of one chunk share an edge. The library would not see the border there.
    """

    def __init__(self, surface: Surface, bounds: NDArray[np.int64]) -> None:
        self._surface = surface
        self._bounds = bounds
        uses = np.zeros(len(surface.points), np.uint8)
        for number in range(len(bounds) - 1):
            uses[self._vertices(number)] += 1
        self._is_shared = uses > 1
        self.has_odd_edges = False
        self._borders = [self._border(number) for number in range(len(bounds) - 1)]

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return len(self._borders)

    def chunk(self, number: int) -> _Chunk:
        """Return the chunk `number`."""
        used = self._vertices(number)
        border = self._borders[number]
        order = np.concatenate((border, np.setdiff1d(used, border, assume_unique=True)))
        numbers = np.empty(int(used[-1]) - int(used[0]) + 1, np.int32)
        numbers[order - used[0]] = np.arange(len(order), dtype=np.int32)
        triangles = numbers[self._triangles(number) - used[0]]
        return _Chunk(self._surface.points[order].astype(np.float64), triangles, border)

    def joined(self, parts: list[NDArray[np.float32] | NDArray[np.int32]]) -> Surface:
        """Return the surface of the reduced chunks: of each its points and its triangles."""
        on_border = np.unique(np.concatenate(self._borders))
        points: list[NDArray[np.float32]] = [self._surface.points[on_border]]
        triangles: list[NDArray[np.int32]] = []
        count = len(on_border)
        for number, border in enumerate(self._borders):
            own_points, own_triangles = parts[2 * number], parts[2 * number + 1]
            private = np.arange(count, count + len(own_points) - len(border))
            count += len(private)
            numbers = np.concatenate((np.searchsorted(on_border, border), private))
            triangles.append(numbers.astype(np.int32)[own_triangles])
            points.append(own_points[len(border) :].astype(np.float32, copy=False))
        return Surface(np.concatenate(points), np.concatenate(triangles))

    def _border(self, number: int) -> NDArray[np.int64]:
        """Return the numbers of the vertices at the open edges of a chunk, sorted.

        A vertex that chunks share without sharing an edge is none of them: it becomes one in each chunk.
        """
        triangles = self._triangles(number)
        near = triangles[self._is_shared[triangles].sum(axis=1) > 1]
        edges = np.sort(np.concatenate((near[:, [0, 1]], near[:, [1, 2]], near[:, [2, 0]])), axis=1)
        edges = edges[self._is_shared[edges].all(axis=1)]
        found, counts = np.unique(edges, axis=0, return_counts=True)
        self.has_odd_edges |= bool(((counts > 1) & (counts % 2 == 1)).any())
        return np.unique(found[counts == 1]).astype(np.int64)

    def _triangles(self, number: int) -> NDArray[np.int32]:
        return self._surface.triangles[self._bounds[number] : self._bounds[number + 1]]

    def _vertices(self, number: int) -> NDArray[np.int64]:
        """Return the numbers of the vertices of a chunk, sorted."""
        triangles = self._triangles(number)
        low, high = int(triangles.min()), int(triangles.max())
        used = np.zeros(high - low + 1, dtype=np.bool_)
        used[triangles - low] = True
        return np.flatnonzero(used) + low
