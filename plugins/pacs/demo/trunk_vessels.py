"""The trunk phantom's vessels and airways: aorta with branches, veins, trees of the lungs and the liver."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import chain

import numpy as np

from pacs.demo.canvas import Layer, Point, Solid, Stroke
from pacs.demo.solids import Ellipsoid
from pacs.demo.tubes import Tube, mirrored, tube, tube_strokes, vessel_tree

ARTERIAL_HU = 340
VENOUS_HU = 165
PORTAL_HU = 185
PULMONARY_HU = 260
VESSEL_WALL_HU = 45
AIR_HU = -990
# The aorta's midline, from the valve to the bifurcation.
AORTA: tuple[Point, ...] = (
    (0, -22, 345),
    (-14, -30, 372),
    (-15, -27, 400),
    (-4, -14, 420),
    (12, 8, 424),
    (22, 28, 408),
    (24, 34, 380),
    (22, 33, 330),
    (16, 27, 280),
    (9, 17, 230),
    (5, 6, 180),
    (3, 0, 130),
    (2, 2, 84),
)
_AORTA_RADII_MM = (15.5, 15, 14, 13, 12.5, 12, 11.5, 11, 11, 10.5, 9.5, 8.8, 8.6)


@functools.cache
def arteries() -> tuple[Tube, ...]:
    """Aorta, iliac arteries and the large branches, each from its root on."""
    right_iliac = tube(((2, 2, 88), (-12, 8, 66), (-28, 20, 34), (-46, 22, -8), (-56, 8, -40)), (7, 6.2, 5.6, 5.2, 5))
    left_iliac = tube(((2, 2, 88), (15, 8, 66), (30, 20, 34), (47, 22, -8), (57, 8, -40)), (7, 6.2, 5.6, 5.2, 5))
    celiac = tube(((6, 10, 204), (5, -8, 203), (2, -20, 206)), (4.2, 3.8, 3.4), pieces=3)
    splenic = tube(((2, -20, 206), (28, -14, 212), (58, 12, 216), (92, 36, 226)), (3, 2.8, 2.6, 2.2))
    hepatic = tube(((2, -20, 206), (-18, -28, 206), (-34, -28, 216)), (3, 2.6, 2.2))
    path = ((5, 7, 188), (3, -12, 178), (1, -24, 150), (-6, -30, 110), (-20, -32, 70))
    mesenteric = tube(path, (4.4, 4, 3.6, 3, 2.2))
    renal_right = tube(((4, 4, 172), (-18, 14, 168), (-46, 26, 160)), (3.4, 3.2, 3))
    renal_left = tube(((5, 6, 174), (26, 16, 174), (50, 28, 170)), (3.4, 3.2, 3))
    trunk_right = tube(((-9, -20, 414), (-15, -12, 440), (-22, -4, 462), (-28, 4, 500)), (7, 6.5, 5, 4))
    carotid_left = tube(((2, -4, 422), (10, -4, 445), (18, 0, 470), (22, 6, 500)), (4.5, 4.2, 4, 4))
    subclavian_left = tube(((11, 8, 424), (22, 14, 445), (36, 16, 466), (64, 4, 478)), (5.5, 5, 4.6, 4.2))
    return (
        tube(AORTA, _AORTA_RADII_MM),
        *(right_iliac, left_iliac, celiac, splenic, hepatic, mesenteric),
        *(renal_right, renal_left, trunk_right, carotid_left, subclavian_left),
    )


@functools.cache
def _veins() -> tuple[Tube, ...]:
    cava = tube(
        ((-17, 12, 70), (-18, 8, 120), (-20, 9, 170), (-23, 12, 220), (-24, 8, 270), (-26, -6, 300)),
        (10.5, 11, 12, 12.5, 13, 13),
    )
    iliac = tube(((-17, 12, 78), (-30, 22, 40), (-44, 30, -4), (-54, 20, -40)), (8, 7.5, 7, 7))
    iliac_left = tube(((-17, 12, 76), (10, 22, 48), (30, 28, 26), (48, 31, -8), (57, 20, -40)), (8, 7.5, 7.3, 7, 7))
    superior = tube(((-28, -18, 338), (-30, -22, 372), (-28, -24, 410), (-24, -24, 434)), (11, 10.5, 10, 8))
    brachiocephalic = tube(((-25, -24, 430), (-4, -32, 436), (20, -24, 450), (46, -8, 470)), (7.5, 7, 6.5, 5.5))
    renal_left = tube(((-18, 6, 172), (2, -7, 174), (26, 10, 172), (50, 27, 168)), (4.5, 4, 4.2, 4))
    renal_right = tube(((-20, 10, 166), (-34, 20, 162), (-48, 28, 158)), (4.5, 4.4, 4))
    return cava, iliac, iliac_left, superior, brachiocephalic, renal_left, renal_right


def great_vessels() -> Iterator[Stroke]:
    """Yield the vessels outside of the organs, veins first."""
    yield from tube_strokes(chain.from_iterable(_veins()), Layer(VESSEL_WALL_HU), Layer(VENOUS_HU, 1.0))
    portal = tube(((8, -22, 176), (-6, -20, 190), (-24, -18, 206), (-42, -16, 222)), (6.5, 7, 7, 6))
    splenic = tube(((-4, -19, 188), (28, -6, 204), (62, 18, 212), (94, 38, 224)), (4.6, 4.6, 4.2, 3.6))
    for vein in (portal, splenic):
        yield from tube_strokes(vein, Layer(PORTAL_HU))
    # All walls before all lumens: branches must open into their trunk.
    every_artery = tuple(chain.from_iterable(arteries()))
    yield from tube_strokes(every_artery, Layer(VESSEL_WALL_HU), Layer(ARTERIAL_HU, 0.8))


def mesentery() -> Iterator[Stroke]:
    """Yield the vessels of the mesentery: they fan out to the loops of the bowel."""
    fan = places_inside(Ellipsoid((0, -30, 62), (82, 26, 62)), count=70, seed=3, margin_mm=2)
    yield from tube_strokes(vessel_tree((1, -24, 150), fan, 0.75), Layer(ARTERIAL_HU - 120))


def pulmonary_arteries() -> Iterator[Stroke]:
    """Yield the pulmonary trunk and its two branches."""
    trunk = tube(((16, -44, 350), (18, -34, 372), (14, -14, 384), (20, 4, 384), (38, 10, 378)), (14, 13.5, 12, 10.5, 9))
    right = tube(((14, -14, 384), (-8, -8, 382), (-28, -2, 376), (-42, 4, 368)), (10, 10, 9.5, 8.5))
    for branch in (trunk, right):
        yield from tube_strokes(branch, Layer(PULMONARY_HU))


def airways() -> Iterator[Stroke]:
    """Yield trachea and large bronchi with their walls, and the esophagus behind them."""
    esophagus = tube(((2, 24, 500), (3, 22, 440), (4, 20, 400), (8, 18, 350), (14, 10, 300), (26, 4, 272)), 6.5)
    yield from tube_strokes(esophagus, Layer(48), Layer(10, 4.5))
    trachea = tube(((0, 2, 500), (0, 8, 450), (-1, 12, 400)), 9.5)
    right = tube(((-1, 12, 402), (-16, 14, 388), (-34, 16, 372), (-46, 20, 352)), (7.5, 7, 6, 4.5))
    left = tube(((-1, 12, 402), (16, 16, 386), (36, 22, 372), (50, 28, 350)), (7, 6.5, 5.6, 4.2))
    upper = tube(((-20, 15, 385), (-40, 12, 392), (-56, 6, 408)), (5.5, 4.5, 3.2))
    twigs = (trachea, right, left, upper, mirrored(upper))
    yield from tube_strokes(chain.from_iterable(twigs), Layer(35), Layer(AIR_HU, 1.6))


@functools.cache
def lung_trees(*lungs: Solid) -> tuple[Tube, ...]:
    """Grow an artery and a vein tree in each lung, reaching nearly to the pleura."""
    trees = []
    for number, (lung, side) in enumerate(zip(lungs, (-1, 1), strict=True)):
        twigs = places_inside(lung, count=760, seed=11 + number, margin_mm=5)
        trees.append(vessel_tree((side * 40, 8, 370), twigs[::2], 0.85))
        trees.append(vessel_tree((side * 34, -4, 352), twigs[1::2], 0.85))
    return tuple(trees)


@functools.cache
def liver_trees(liver: Solid) -> tuple[Tube, ...]:
    """Grow the portal and the hepatic veins in the liver."""
    twigs = places_inside(liver, count=150, seed=5, margin_mm=9)
    return vessel_tree((-42, -16, 222), twigs[::2], 0.95), vessel_tree((-24, 4, 284), twigs[1::2], 0.95)


def places_inside(solid: Solid, *, count: int, seed: int, margin_mm: float) -> np.ndarray:
    """Scatter `count` places evenly in `solid`, at least `margin_mm` under its surface; shape (count, 3)."""
    random = np.random.default_rng(seed)
    places = random.uniform(solid.box.low, solid.box.high, (60 * count, 3))
    x, y, z = places.astype(np.float32).T
    inside = places[solid.distance(x, y, z) < -margin_mm]
    return inside[:count]
