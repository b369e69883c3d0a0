"""Tubes along curves, and trees of vessels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pacs.demo.canvas import Layer, Point, Stroke
from pacs.demo.solids import Capsule

type Tube = tuple[Capsule, ...]


def tube(path: Sequence[Point], radii_mm: float | Sequence[float], *, pieces: int = 6, stretch_z: float = 1.0) -> Tube:
    """Lay a tube smoothly through the points of `path`.

    Parameters
    ----------
    radii_mm : one radius, or one for each point.
    pieces : capsules between each two points.
    """
    radii = np.broadcast_to(np.asarray(radii_mm, float), len(path))
    nodes = _smooth(np.column_stack((np.asarray(path, float), radii)), pieces)
    return tuple(
        Capsule(tuple(first[:3]), tuple(second[:3]), float(first[3]), float(second[3]), stretch_z)
        for first, second in pairwise(nodes)
    )


def mirrored(capsules: Iterable[Capsule]) -> Tube:
    """Return the same tube on the other side of the body."""
    return tuple(
        Capsule(_mirror(one.start), _mirror(one.stop), one.start_radius_mm, one.stop_radius_mm, one.stretch_z)
        for one in capsules
    )


def vessel_tree(root: Point, twigs: NDArray[np.float64], twig_radius_mm: float) -> Tube:
    """Grow a tree of vessels from `root` to all `twigs`, thicker where more twigs are fed (Murray's law).

    Parameters
    ----------
    twigs : shape (count, 3), where vessels must come.
    """
    order = np.argsort(np.linalg.norm(twigs - np.array(root), axis=1))
    nodes = np.vstack((np.array(root)[None, :], twigs[order]))
    parents = np.zeros(len(nodes), int)
    travelled = np.zeros(len(nodes))
    for index in range(1, len(nodes)):
        hops = np.linalg.norm(nodes[:index] - nodes[index], axis=1)
        # A hop back along the tree is dear: so branches fan out instead of winding.
        parents[index] = int(np.argmin(hops + 0.35 * travelled[:index]))
        travelled[index] = travelled[parents[index]] + hops[parents[index]]
    flow = np.ones(len(nodes))
    for index in range(len(nodes) - 1, 0, -1):
        flow[parents[index]] += flow[index]
    radii = twig_radius_mm * np.cbrt(flow)
    return tuple(
        Capsule(tuple(nodes[parents[index]]), tuple(nodes[index]), float(radii[index]) * 1.08, float(radii[index]))
        for index in range(1, len(nodes))
    )


def tube_strokes(capsules: Iterable[Capsule], *layers: Layer) -> Iterator[Stroke]:
    """Yield what paints a whole tube: each layer along its whole length before the next, so that a lumen stays open."""
    capsules = tuple(capsules)
    for layer in layers:
        for capsule in capsules:
            if layer.depth_mm < max(capsule.start_radius_mm, capsule.stop_radius_mm):
                yield Stroke(capsule, (layer,))


def _smooth(nodes: NDArray[np.float64], pieces: int) -> NDArray[np.float64]:
    """Return points on the Catmull-Rom spline through `nodes`, both ends included."""
    padded = np.vstack((2 * nodes[0] - nodes[1], nodes, 2 * nodes[-1] - nodes[-2]))
    share = (np.arange(pieces) / pieces)[:, None]
    spans = []
    for before, first, second, after in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        linear = (second - before) / 2
        square = before - 2.5 * first + 2 * second - after / 2
        cube = (after - before) / 2 + 1.5 * (first - second)
        spans.append(first + share * (linear + share * (square + share * cube)))
    return np.vstack((*spans, nodes[-1]))


def _mirror(point: Point) -> Point:
    return -point[0], point[1], point[2]
