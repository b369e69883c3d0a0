"""Fewer triangles for the same shape: edges are collapsed by quadric errors (Garland, Heckbert 1997).

The library (fast_simplification) wants some 275 bytes a triangle and is slow on what does not fit the caches, so the
surface is taken in chunks whose borders stay as they are; a second pass has its borders elsewhere. Two processes share
the chunks; the result does not depend on that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from pacs.mesh.check import checked, taken_apart
from pacs.mesh.fork import Helper
from pacs.mesh.measuring import SurfaceLocator, volume_and_area
from pacs.mesh.surface import EMPTY, Surface

_CHUNK_TRIANGLES = 60_000
_FIRST_PASS = 2.0
_MOST_PASSES = 4
_ENDS_OF_ONE = 2
_AGGRESSIVENESS = 7.0
# The library allows an error of 1e-9 (n + 3) ^ aggressiveness in its n-th of 100 rounds, squared, without units.
_BOUNDED_AGGRESSIVENESS = 0.5
_LAST_ROUND_ERROR = 1e-9 * 102.0**_BOUNDED_AGGRESSIVENESS
_HEADROOM_BYTES = 2**20
# Quadric errors as multiples of the deviation that is allowed, one for each level; what needs less stays as it is.
_ERRORS = (4.0, 3.0, 2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.05)
_LAST_LEVEL = len(_ERRORS)
# Specks are tried once: many a surface has thousands, and most go.
_SPECK_LEVEL = 3
_MOST_ROUNDS = 16
# Few places that are too far off go on by so many levels at once, with so many vertices around them. What is between
# levels stays as it is: where places are more than this share of the triangles that are left, all go on by one.
_LEVELS_AT_ONCE = 3
_RINGS = 4
_MANY = 0.5
# Many places are seen at so many vertices already, before all are looked at.
_GLIMPSE = 20_000
# Of its volume: a body with less than that is flat, however near to what it was.
_LEAST_VOLUME = 0.5
# Fewer triangles than these may have no volume at all; then more are tried.
_FEW_TRIANGLES = 1000
_FEWEST_TRIANGLES = 4
_NO_VOLUME = 0.01

# Takes triangles from a chunk: (points float64, triangles int32) -> the same. Vertices at open edges stay first.
type _Reducer = Callable[[NDArray[np.float64], NDArray[np.int32]], tuple[NDArray[np.float64], NDArray[np.int32]]]


def reduced_to(surface: Surface, triangles: int, check: Callable[[], None] = lambda: None) -> Surface:
    """Return `surface` with at most `triangles` triangles; with more, where fewer would harm it or leave no volume.

    Parameters
    ----------
    check : called now and then; raises if it is not wanted any more.
    """
    wanted = max(triangles, _FEWEST_TRIANGLES)
    fewer = _to_count(surface, wanted, check)
    while len(fewer.triangles) < min(len(surface.triangles), _FEW_TRIANGLES) and _is_flat(surface, fewer, _NO_VOLUME):
        wanted *= 2
        fewer = _to_count(surface, wanted, check)
    return fewer


def _to_count(surface: Surface, triangles: int, check: Callable[[], None]) -> Surface:
    for number in range(_MOST_PASSES):
        now = len(surface.triangles)
        if now <= triangles:
            break
        wanted = triangles * _FIRST_PASS if number == 0 and now > triangles * 1.5 * _FIRST_PASS else triangles
        wanted = triangles if now <= _CHUNK_TRIANGLES else wanted
        group = _Group(now, _to_share(wanted / now))
        surface, _ = _pass(surface, [group], is_shifted=number % 2 == 1, check=check)
    return surface


@dataclass(frozen=True)
class Reduced:
    """A surface with fewer triangles.

    Attributes
    ----------
    is_left_out : shape (vertices,), which vertices of the surface that it was belong to specks that are gone.
    specks : how many these are.
    """

    surface: Surface
    is_left_out: NDArray[np.bool_]
    specks: int


def reduced_within(surface: Surface, deviation_mm: float, check: Callable[[], None] = lambda: None) -> Reduced:
    """Return `surface`, in mm, with few triangles, none of its vertices farther than `deviation_mm` from what it was.

    The quadric error is the root of the summed squares of distances from the planes of all triangles that were taken
    away, so surfaces come out a third to a half as far off as it allows. That is measured of each body, at all vertices
    of both; around those that are too far off a smaller error is tried, until in the end triangles stay as they are.
    Specks, no longer than twice the deviation, are left out when they become flat, unless there is nothing else.
    """
    bodies, labels = _bodies(surface)
    is_speck = np.array([_is_speck(body, deviation_mm) for body in bodies], np.bool_)
    may_go = is_speck & ~is_speck.all()
    found = [
        (_speck if goes else _fewest)(body, deviation_mm, check) for body, goes in zip(bodies, may_go, strict=True)
    ]
    is_gone = np.array([reduced is None for reduced in found], np.bool_)
    return Reduced(_together([one for one in found if one is not None]), is_gone[labels], int(is_gone.sum()))


def _bodies(surface: Surface) -> tuple[list[Surface], NDArray[np.int32]]:
    """Return what of a surface hangs together, and of each vertex the number of its body."""
    one, other = surface.triangles[:, [0, 1]].reshape(-1), surface.triangles[:, [1, 2]].reshape(-1)
    vertices = len(surface.points)
    graph = sparse.coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(vertices, vertices))
    count, labels = csgraph.connected_components(graph, directed=False)
    if count == 1:
        return [surface], labels
    order, of_triangles = np.argsort(labels, kind="stable"), labels[surface.triangles[:, 0]]
    point_ends = np.cumsum(np.bincount(labels, minlength=count))
    triangle_ends = np.cumsum(np.bincount(of_triangles, minlength=count))
    numbers = np.empty(vertices, np.int32)
    numbers[order] = np.arange(vertices) - np.concatenate(([0], point_ends))[labels[order]]
    triangles = numbers[surface.triangles[np.argsort(of_triangles, kind="stable")]]
    parts = zip(np.split(surface.points[order], point_ends[:-1]), np.split(triangles, triangle_ends[:-1]), strict=True)
    return [Surface(points, corners) for points, corners in parts], labels


def _together(bodies: list[Surface]) -> Surface:
    if len(bodies) == 1:
        return bodies[0]
    firsts = np.cumsum([0, *(len(body.points) for body in bodies)])[:-1].tolist()
    triangles = [body.triangles + np.int32(first) for body, first in zip(bodies, firsts, strict=True)]
    return Surface(
        np.concatenate([EMPTY.points, *(body.points for body in bodies)]), np.concatenate([EMPTY.triangles, *triangles])
    )


def _is_speck(body: Surface, deviation_mm: float) -> bool:
    return bool(np.linalg.norm(np.ptp(body.points, axis=0)) <= 2 * deviation_mm)


def _speck(body: Surface, deviation_mm: float, check: Callable[[], None]) -> Surface | None:
    """Return a speck with few triangles; None if it became flat or too far off."""
    levels = np.full(len(body.triangles), _SPECK_LEVEL, np.int8)
    reduced = _reduced_by_levels(body, levels, deviation_mm, check)
    is_good = not _is_flat(body, reduced, _LEAST_VOLUME) and not _off(body, reduced, deviation_mm).any()
    return reduced if is_good else None


def _fewest(body: Surface, deviation_mm: float, check: Callable[[], None]) -> Surface:
    """Return a body with few triangles; as it is where nothing else is near enough."""
    whole = taken_apart(body)
    levels = np.zeros(len(whole.triangles), np.int8)
    for _ in range(_MOST_ROUNDS):
        reduced = _reduced_by_levels(whole, levels, deviation_mm, check)
        many = _MANY * len(reduced.triangles)
        if _is_flat(whole, reduced, _LEAST_VOLUME) or _glimpsed_off(whole, reduced, deviation_mm) > many:
            levels += 1
        elif not (off := _off(whole, reduced, deviation_mm)).any():
            return reduced
        else:
            levels += 1 if off.sum() > many else np.int8(_LEVELS_AT_ONCE) * off
        np.minimum(levels, _LAST_LEVEL, out=levels)
    return body


def _glimpsed_off(body: Surface, reduced: Surface, deviation_mm: float) -> float:
    """Return about how many triangles `_off` would find, by a look at some vertices: half as many at least."""
    step = max(1, len(body.points) // _GLIMPSE)
    found = int(_off(body, reduced, deviation_mm, step).sum())
    return found * max(1.0, step / 2)


def _off(body: Surface, reduced: Surface, deviation_mm: float, step: int = 1) -> NDArray[np.bool_]:
    """Return which triangles of `body` are around what is farther than `deviation_mm` from the other surface.

    Parameters
    ----------
    step : of so many vertices one is looked at.
    """
    if not len(reduced.triangles):
        return np.ones(len(body.triangles), np.bool_)
    is_off = np.zeros(len(body.points), np.bool_)
    is_off[step * SurfaceLocator(reduced).beyond(body.points[::step], deviation_mm).points] = True
    is_off[body.triangles[SurfaceLocator(body).beyond(reduced.points[::step], deviation_mm).nearest]] = True
    if is_off.any():
        for _ in range(_RINGS):
            is_off[body.triangles[is_off[body.triangles].any(axis=1)]] = True
    return np.asarray(is_off[body.triangles].any(axis=1))


def _is_flat(body: Surface, reduced: Surface, least: float) -> bool:
    """Whether less than the share `least` of the volume is left."""
    before, after = volume_and_area(body)[0], volume_and_area(reduced)[0]
    return after * math.copysign(1, before) < least * abs(before)


def _reduced_by_levels(
    body: Surface, levels: NDArray[np.int8], deviation_mm: float, check: Callable[[], None]
) -> Surface:
    """Return `body` reduced by the errors of the `levels` of its triangles.

    It is mended: what touches itself would lose triangles or be drawn apart at the end, when it was measured already.
    """
    if not len(levels):
        return body
    surface = Surface(body.points, body.triangles[np.argsort(levels, kind="stable")])
    counts = np.bincount(levels, minlength=_LAST_LEVEL + 1).tolist()
    reducers = [*(_within(error * deviation_mm) for error in _ERRORS), _as_it_is]
    groups = [_Group(count, reduce) for count, reduce in zip(counts, reducers, strict=True) if count]
    for number in range(2 if len(levels) > _CHUNK_TRIANGLES else 1):
        check()
        # What became one chunk has no borders to be elsewhere.
        is_shifted = number > 0 and any(group.count > _CHUNK_TRIANGLES for group in groups)
        surface, left = _pass(surface, groups, is_shifted=is_shifted, check=check)
        # What was one chunk has no borders within, for which there is the second pass.
        groups = [
            _Group(count, group.reduce if group.count > _CHUNK_TRIANGLES else _as_it_is)
            for count, group in zip(left, groups, strict=True)
            if count
        ]
    return checked(surface)[0]


def _as_it_is(
    points: NDArray[np.float64], triangles: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    return points, triangles


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


@dataclass(frozen=True)
class _Group:
    """How many triangles in a row are reduced alike, and by what."""

    count: int
    reduce: _Reducer


def _pass(
    surface: Surface, groups: list[_Group], *, is_shifted: bool, check: Callable[[], None]
) -> tuple[Surface, list[int]]:
    """Return the surface with fewer triangles, and how many are left of each group.

    Several groups stay as they are where the library would not see a border between them.
    """
    bounds = _bounds(groups, is_shifted=is_shifted)
    if len(bounds) == _ENDS_OF_ONE:
        points, triangles = groups[0].reduce(surface.points.astype(np.float64), surface.triangles)
        return Surface(points.astype(np.float32), triangles), [len(triangles)]
    splitter = _Splitter(surface, bounds)
    if splitter.has_odd_edges:
        if len(groups) > 1:
            return surface, [group.count for group in groups]
        mended = taken_apart(surface)
        groups = [_Group(len(mended.triangles), groups[0].reduce)]
        bounds = _bounds(groups, is_shifted=is_shifted)
        splitter = _Splitter(mended, bounds)
    group_of = np.searchsorted(np.cumsum([group.count for group in groups]), bounds[:-1], side="right")

    def work(numbers: range) -> list[NDArray[np.float32] | NDArray[np.int32]]:
        done: list[NDArray[np.float32] | NDArray[np.int32]] = []
        for number in numbers:
            check()
            done += _reduced_chunk(splitter.chunk(number), groups[group_of[number]].reduce)
        return done

    parts = _shared_out(work, splitter.count, surface)
    left = np.bincount(group_of, weights=[len(triangles) for triangles in parts[1::2]], minlength=len(groups))
    return splitter.joined(parts), left.astype(int).tolist()


def _bounds(groups: list[_Group], *, is_shifted: bool) -> NDArray[np.int64]:
    first, ends = 0, [np.zeros(1, np.int64)]
    for group in groups:
        ends.append(first + _chunk_ends(group.count, is_shifted=is_shifted))
        first += group.count
    return np.concatenate(ends)


def _chunk_ends(count: int, *, is_shifted: bool) -> NDArray[np.int64]:
    chunks = -(-count // _CHUNK_TRIANGLES)
    chunks += chunks > 1 and chunks % 2  # every other one is the second process's: each has half of the triangles
    edges = np.linspace(0, count, chunks + 1)
    if is_shifted and count > 1:
        edges = np.concatenate(([0.0], (edges[1:] + edges[:-1]) / 2, [float(count)]))
    return edges[1:].astype(np.int64)


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
