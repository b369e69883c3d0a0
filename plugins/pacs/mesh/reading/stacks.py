"""Which slices of a series belong together: parallel, of one size, one in each place.

A series may hold several stacks: orientations, phases of the heart, echoes, diffusion directions. Slices that are there
twice are dropped; slices that can't be told apart are refused by name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.errors import MixedSizes, SamePlaceTwice
from pacs.mesh.reading.header import DISTINGUISHING
from pacs.mesh.reading.scans import scans_of
from pacs.mesh.reading.slices import Slice

# Directions that differ less are one: at the corner of a field of 500 mm it is 0.3 mm.
_SAME_DIRECTION: Final = 1e-3
_SAME_SPACING: Final = 1e-3
# Slices that are nearer to each other than this share of the usual gap lie in the same place.
_SAME_PLACE: Final = 0.02
_SAME_PLACE_MM: Final = 1e-3
# A slice of another size lies in a hole of the others if this much wider than usual.
_HOLE: Final = 1.5
_MOST: Final = 0.5
_CHANGES_FROM_COPY_TO_COPY: Final = frozenset(keyword for keyword in DISTINGUISHING if "Time" in keyword)


@dataclass(frozen=True, slots=True)
class Stack:
    """Parallel slices of one size.

    Attributes
    ----------
    slices : in the order of their places along the normal.
    told_apart_by : the attributes that tell it from other stacks in the same place.
    duplicates : how many slices were dropped that were there already.
    """

    slices: tuple[Slice, ...]
    told_apart_by: Mapping[str, str] = field(default_factory=dict)
    duplicates: int = 0

    @property
    def places_mm(self) -> NDArray[np.float64]:
        """Shape (slices,): where they lie along their normal, increasing."""
        return places_of(self.slices)


def places_of(slices: Sequence[Slice]) -> NDArray[np.float64]:
    """Return where slices lie along the normal of the first, shape (slices,)."""
    return np.stack([one.position_mm for one in slices]) @ slices[0].normal


def stacks_of(slices: Sequence[Slice], fingerprint: Callable[[Slice], bytes]) -> list[Stack]:
    """Return the stacks in `slices`, whatever their order, always in the same order.

    Parameters
    ----------
    fingerprint : what is the same for slices with the same pixels; asked only where it matters.

    Raises
    ------
    MixedSizes : slices of one stack differ in size.
    SamePlaceTwice : different slices lie in the same place and nothing tells which belong together.
    """
    stacks: list[Stack] = []
    for in_frame in _by_frame_of_reference(slices):
        for parallel in _grouped(in_frame, _are_parallel):
            for sized in _sized(parallel):
                stacks += _told_apart(_without_duplicates(_sorted(sized), fingerprint))
    return sorted(stacks, key=_order)


def _by_frame_of_reference(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Group slices that share coordinates; those that don't say belong to the others, if these have but one.

    A series has one frame of reference at most (PS3.3 A.1.2.5), but headers are mended and merged on their way.
    """
    groups: defaultdict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        groups[one.header.text("FrameOfReferenceUID")].append(one)
    is_one = len(groups.keys() - {""}) <= 1
    return [list(slices)] if is_one else list(groups.values())


def _grouped(slices: Sequence[Slice], belong: Callable[[Slice, Slice], bool]) -> list[list[Slice]]:
    """Put each slice to the first group to whose first slice it belongs."""
    groups: list[list[Slice]] = []
    for one in slices:
        group = next((group for group in groups if belong(group[0], one)), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def _are_parallel(first: Slice, second: Slice) -> bool:
    return bool(np.abs(first.orientation - second.orientation).max() <= _SAME_DIRECTION)


def _are_of_one_size(first: Slice, second: Slice) -> bool:
    pairs = zip(first.spacing_mm, second.spacing_mm, strict=True)
    is_even = all(abs(one - other) <= _SAME_SPACING * one for one, other in pairs)
    return is_even and (first.rows, first.columns) == (second.rows, second.columns)


def _sorted(slices: Sequence[Slice]) -> list[Slice]:
    places = places_of(slices).tolist()
    paired = sorted(zip(places, slices, strict=True), key=lambda pair: (pair[0], _order_in_place(pair[1])))
    return [one for _, one in paired]


def _order_in_place(one: Slice) -> tuple[int, str]:
    return one.number or 0, one.header.sop_instance_uid


def _order(stack: Stack) -> tuple[object, ...]:
    first = stack.slices[0]
    orientation = tuple(np.round(first.orientation, 2).ravel().tolist())
    size = first.rows, first.columns, first.spacing_mm
    return orientation, size, first.header.text("FrameOfReferenceUID"), *map(_by_size, stack.told_apart_by.values())


def _by_size(text: str) -> tuple[float, str]:
    """Sort numbers as numbers."""
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _sized(parallel: Sequence[Slice]) -> list[list[Slice]]:
    """Group by size, and refuse slices of another size in between."""
    groups = sorted(_grouped(parallel, _are_of_one_size), key=len, reverse=True)
    main = groups[0]
    for other in groups[1:]:
        if _fills_holes(main, other):
            raise MixedSizes(
                f"The slices of a stack must be of one size, but instance {other[0].header.sop_instance_uid} has "
                f"{_size(other[0])} and instance {main[0].header.sop_instance_uid} has {_size(main[0])}.",
                remedy="Leave out the ones or the others.",
                sop_instance_uids=[one.header.sop_instance_uid for one in other],
            )
    return groups


def _size(one: Slice) -> str:
    down, across = one.spacing_mm
    return f"{one.rows} rows x {one.columns} columns of {down:g} x {across:g} mm"


def _fills_holes(main: Sequence[Slice], other: Sequence[Slice]) -> bool:
    """Whether slices of another size lie where those of the stack are missing, or beyond its ends."""
    normal = main[0].normal
    places = np.sort([one.position_mm @ normal for one in main])
    others = np.array([one.position_mm @ normal for one in other])
    usual = _usual_gap(places)
    if usual is None:
        return True
    edges = np.concatenate([[-np.inf], places, [np.inf]])
    below = np.searchsorted(places, others)
    are_in_holes = edges[below + 1] - edges[below] > _HOLE * usual
    are_apart = np.abs(others[:, None] - places).min(axis=1) > _SAME_PLACE * usual
    return bool(np.mean(are_in_holes & are_apart) > _MOST)


def _usual_gap(places: NDArray[np.float64]) -> float | None:
    gaps = np.diff(places)
    gaps = gaps[gaps > _SAME_PLACE_MM]
    return float(np.median(gaps)) if len(gaps) else None


def _in_places(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Group sorted slices by where they lie."""
    places = places_of(slices)
    apart_mm = max(_SAME_PLACE_MM, _SAME_PLACE * (_usual_gap(places) or 0.0))
    groups = [[slices[0]]]
    for (before, after), one in zip(pairwise(places), slices[1:], strict=True):
        if after - before > apart_mm:
            groups.append([])
        groups[-1].append(one)
    return groups


def _without_duplicates(slices: Sequence[Slice], fingerprint: Callable[[Slice], bytes]) -> Stack:
    kept: list[Slice] = []
    for in_place in _in_places(slices):
        alike = Counter(map(_description, in_place))
        known: set[object] = set()
        for one in in_place:
            description = _description(one)
            if alike[description] > 1:
                key = (description, one.rescale, fingerprint(one))
                if key in known:
                    continue
                known.add(key)
            kept.append(one)
    return Stack(tuple(kept), duplicates=len(slices) - len(kept))


def _description(one: Slice) -> tuple[tuple[str, str], ...]:
    return tuple(item for item in one.distinguishing.items() if item[0] not in _CHANGES_FROM_COPY_TO_COPY)


def _told_apart(stack: Stack) -> Iterator[Stack]:
    """Split a stack until each place has one slice."""
    in_places = _in_places(stack.slices)
    most = max(map(len, in_places))
    if most == 1:
        yield from _single_scans(stack)
        return
    for part in _split(stack.slices, most) or _by_order(in_places):
        found = replace(part, told_apart_by={**stack.told_apart_by, **part.told_apart_by}, duplicates=stack.duplicates)
        yield from _told_apart(found)


def _single_scans(stack: Stack) -> Iterator[Stack]:
    scans = scans_of(stack.slices)
    if scans is None:
        yield stack
        return
    keyword, parts = scans
    for value, part in parts.items():
        yield from _single_scans(
            replace(stack, slices=tuple(part), told_apart_by={**stack.told_apart_by, keyword: value})
        )


def _split(slices: Sequence[Slice], most: int) -> list[Stack]:
    """Split by the first attribute that leaves fewer slices in a place; nothing if there is none."""
    for keyword in DISTINGUISHING:
        parts: defaultdict[str, list[Slice]] = defaultdict(list)
        for one in slices:
            parts[one.distinguishing.get(keyword, "")].append(one)
        if 1 < len(parts) <= most and all(max(map(len, _in_places(part))) < most for part in parts.values()):
            return [Stack(tuple(part), {keyword: value}) for value, part in parts.items()]
    return []


def _by_order(in_places: Sequence[Sequence[Slice]]) -> list[Stack]:
    """Split by the order of the numbers, if each place has as many slices and each slice a number of its own."""
    numbers = [one.number for in_place in in_places for one in in_place]
    is_even = len(set(map(len, in_places))) == 1
    if not is_even or None in numbers or len(set(numbers)) < len(numbers) or len(in_places) == 1:
        first, second = next(in_place for in_place in in_places if len(in_place) > 1)[:2]
        raise SamePlaceTwice(
            f"Each slice must have a place of its own, but {first.name} and {second.name} lie in the same place, "
            "differ in their pixels, and nothing tells which belongs to the others.",
            remedy="Leave one of them out.",
            sop_instance_uids=[first.header.sop_instance_uid, second.header.sop_instance_uid],
        )
    layers = zip(*(sorted(in_place, key=_order_in_place) for in_place in in_places), strict=True)
    return [Stack(tuple(layer), {"Order": str(index)}) for index, layer in enumerate(layers, start=1)]
