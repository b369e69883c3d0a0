"""The trunk phantom's organs: lungs, heart, liver, spleen, kidneys, stomach, pancreas, bowel."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pacs.demo.canvas import Array, Box, Layer, Point, Shade, Stroke
from pacs.demo.solids import Common, Ellipsoid, Formula, Torso, Wavy, Without
from pacs.demo.trunk_frame import ABDOMEN_SIDE, CAGE, LEFT_LUNG_SIDE, RIGHT_LUNG_SIDE
from pacs.demo.trunk_vessels import AIR_HU, PORTAL_HU, PULMONARY_HU, VENOUS_HU, liver_trees, lung_trees
from pacs.demo.tubes import Tube, tube, tube_strokes

LUNG_HU = -855
LIVER_HU = 108
SPLEEN_HU = 126
KIDNEY_CORTEX_HU = 205
KIDNEY_MEDULLA_HU = 132
MYOCARDIUM_HU = 112
HEART_BLOOD_HU = 310
FAT_HU = -104
BILE_HU = 8
WATER_HU = 14

_INNER = Torso(CAGE.sections, dent_mm=CAGE.dent_mm, inset_mm=9)
LUNGS = (Common((RIGHT_LUNG_SIDE, _INNER)), Common((LEFT_LUNG_SIDE, _INNER)))
SPLEEN = Common((Wavy(Ellipsoid((102, 40, 232), (27, 44, 52), (14, 0, -14)), 2.5, 55), ABDOMEN_SIDE, _INNER))
KIDNEYS = (
    Wavy(Ellipsoid((-66, 38, 158), (26, 23, 53), (-8, -10, 22)), 1.6, 46, 0.4),
    Wavy(Ellipsoid((67, 38, 170), (26, 23, 54), (-8, 10, -22)), 1.6, 48, 1.1),
)
_STOMACH = Wavy(Ellipsoid((54, -22, 238), (36, 44, 40), (0, 24, 0)), 2, 60)


def _liver_side(x: Array, y: Array, z: Array) -> Array:
    """Distance to the liver's side of its lower face, which rises from the right flank to the left lobe."""
    waves = np.float32(2.5) * (np.sin(x * np.float32(0.11)) + np.sin(y * np.float32(0.13) + 1))
    face = np.float32(150) + (x + 96) * np.float32(0.62) - y * np.float32(0.24) + np.maximum(y, 10) * np.float32(0.5)
    apart: Array = (face + waves - z) * np.float32(0.8)
    return apart


LIVER = Common(
    (
        Wavy(Ellipsoid((-52, -6, 228), (122, 88, 92), (0, 12, 0)), 2.5, 70),
        Formula(Box((-140, -100, 100), (140, 100, 320)), _liver_side),
        Without(ABDOMEN_SIDE, (Ellipsoid((4, 40, 225), (40, 42, 90)), Ellipsoid((104, 20, 235), (56, 90, 80)))),
        _INNER,
    )
)


def lungs() -> Iterator[Stroke]:
    """Yield both lungs: air that gets denser to the back, fissures, and vessels to the periphery."""
    for lung in LUNGS:
        yield Stroke.of(lung, Layer(_lung_shade))
    for tree in lung_trees(*LUNGS):
        yield from tube_strokes(tree, Layer(40.0), Layer(PULMONARY_HU, 1.6))


def _lung_shade(x: Array, y: Array, z: Array) -> Array:
    """Blood collects at the back; the oblique fissures are thin sheets."""
    lower = x * x * np.float32(0.002) - (x > 0) * np.float32(8)
    across = (z - 350 + lower - (y - 5) * np.float32(1.15)) * np.float32(0.66)
    fissure = np.float32(70) * np.exp(-((across / np.float32(1.1)) ** 2))
    shade: Array = np.float32(LUNG_HU) + (y - 10) * np.float32(0.45) + fissure
    return shade


def heart() -> Iterator[Stroke]:
    """Yield pericardial fat, muscle and the four chambers."""
    turn = (28.0, 22.0, 38.0)
    yield Stroke.of(Ellipsoid((19, -32, 312), (55, 43, 43), turn), Layer(20), Layer(-88, 1.8))
    left_ventricle = Ellipsoid((33, -26, 310), (46, 31, 32), turn)
    yield Stroke.of(left_ventricle, Layer(MYOCARDIUM_HU))
    yield Stroke.of(Ellipsoid((2, -48, 316), (37, 25, 33), (20, 10, 30)), Layer(MYOCARDIUM_HU), Layer(225, 4.0))
    yield Stroke.of(left_ventricle, Layer(MYOCARDIUM_HU, 1.0), Layer(HEART_BLOOD_HU, 11.5))
    yield Stroke.of(Ellipsoid((-28, -24, 322), (22, 24, 29)), Layer(MYOCARDIUM_HU), Layer(235, 2.5))
    yield Stroke.of(Ellipsoid((6, 2, 338), (29, 18, 23)), Layer(MYOCARDIUM_HU), Layer(HEART_BLOOD_HU, 2.5))
    for muscle in ((38, -14, 304), (42, -32, 300)):
        yield Stroke.of(Ellipsoid(muscle, (9, 4.5, 5), turn), Layer(MYOCARDIUM_HU))


def abdomen() -> Iterator[Stroke]:
    """Yield the organs under the diaphragm, from the back ones to the front ones."""
    for cushion, kidney in zip(((-66, 40, 158), (67, 40, 170)), KIDNEYS, strict=True):
        yield from _kidney(kidney, cushion)
    yield Stroke.of(SPLEEN, Layer(SPLEEN_HU))
    yield Stroke.of(_STOMACH, Layer(70), Layer(_gas_above(-34, WATER_HU + 16), 4.0))
    antrum = tube(((46, -42, 212), (26, -56, 194), (2, -58, 186), (-20, -48, 186)), (22, 18, 14, 9))
    yield from tube_strokes(antrum, Layer(72), Layer(WATER_HU + 16, 4.5))
    pancreas = tube(((-24, -26, 164), (-16, -30, 180), (8, -33, 192), (38, -16, 204), (76, 18, 214)), (13, 12, 9, 9, 8))
    yield from tube_strokes(pancreas, Layer(98))
    yield from _liver()


def _liver() -> Iterator[Stroke]:
    yield Stroke.of(LIVER, Layer(LIVER_HU))
    portal, hepatic = liver_trees(LIVER)
    yield from tube_strokes(portal, Layer(PORTAL_HU))
    yield from tube_strokes(hepatic, Layer(VENOUS_HU + 8))
    yield Stroke.of(Ellipsoid((-58, -54, 176), (15, 22, 30), (24, 0, 10)), Layer(46), Layer(BILE_HU, 2.0))
    # Two harmless cysts give the reader something to find.
    yield Stroke.of(Ellipsoid((-88, 18, 248), (9, 9, 9)), Layer(WATER_HU - 6))
    yield Stroke.of(Ellipsoid((-40, -40, 262), (5, 5, 5)), Layer(WATER_HU - 6))


def _kidney(kidney: Wavy, middle: Point) -> Iterator[Stroke]:
    """Cortex, pyramids of the medulla, fat and the collecting system at the hilum."""
    toward_spine = float(-np.sign(middle[0]))
    yield Stroke.of(kidney, Layer(KIDNEY_CORTEX_HU))
    for height in (-34, -21, -7, 8, 22, 35):
        for aside, behind in ((-7, 9), (-12, -2), (-4, -12)):
            reach = np.sqrt(1 - (height / 50) ** 2)
            place = (middle[0] + toward_spine * aside * reach, middle[1] + behind * reach, middle[2] + height)
            yield Stroke.of(Ellipsoid(place, (5.6, 5.2, 5.4)), Layer(KIDNEY_MEDULLA_HU))
    hilum = (middle[0] + toward_spine * 11, middle[1] - 5, middle[2])
    yield Stroke.of(Ellipsoid(hilum, (13, 9, 28), (0, 0, -toward_spine * 22)), Layer(FAT_HU))
    pelvis = (middle[0] + toward_spine * 12, middle[1] - 5, middle[2] - 4)
    yield Stroke.of(Ellipsoid(pelvis, (9, 4.5, 15)), Layer(30))
    beside_spine = -36 * toward_spine
    ureter = tube((pelvis, (beside_spine, 22, 100), (beside_spine, 26, 40), (beside_spine, 34, -40)), 2.0)
    yield from tube_strokes(ureter, Layer(40))


@dataclass(frozen=True)
class _Bowel:
    """One length of bowel; what it holds is told for each of its parts in turn."""

    path: tuple[Point, ...]
    radius_mm: float
    contents_hu: tuple[float, ...]
    folds: float = 0.0


_COLON = (
    _Bowel(((-104, 6, 40), (-108, 4, 80), (-108, 0, 118), (-100, -18, 146)), 21, (-20, 35, AIR_HU, 20), 2.5),
    _Bowel(
        ((-100, -22, 146), (-76, -50, 138), (-20, -66, 122), (30, -66, 130), (78, -44, 160), (108, -8, 192)),
        16,
        (AIR_HU, 25, AIR_HU, AIR_HU),
        2.5,
    ),
    _Bowel(
        ((108, -4, 192), (113, 14, 150), (112, 18, 100), (108, 12, 50), (92, 0, 10), (70, -20, -30)),
        13,
        (30, AIR_HU, 15, 40),
        2.0,
    ),
)


@functools.cache
def _small_bowel() -> tuple[Tube, ...]:
    """Loops of small bowel, wound through the middle of the abdomen by slow sines."""
    turn = np.linspace(0, 2 * np.pi, 133)
    x = 2 + 74 * np.sin(11 * turn + 0.6) * (0.8 + 0.2 * np.sin(3 * turn))
    y = -32 + 26 * np.sin(7 * turn + 1.9)
    z = 58 + 64 * np.cos(turn) + 13 * np.sin(17 * turn)
    path = np.column_stack((x, y, z))
    return tuple(tube(tuple(map(tuple, path[first : first + 4])), 11.5, pieces=4) for first in range(0, 130, 3))


def bowel() -> Iterator[Stroke]:
    """Yield small bowel and colon, with fluid, gas and the like inside."""
    for number, loop in enumerate(_small_bowel()):
        inside = AIR_HU if number % 9 == 0 else 22 + 9 * (number % 4)
        yield from tube_strokes(loop, Layer(92), Layer(inside, 2.4))
    for length in _COLON:
        capsules = _folded(length)
        yield from tube_strokes(capsules, Layer(62))
        part = len(capsules) / len(length.contents_hu)
        for number, capsule in enumerate(capsules):
            yield Stroke.of(capsule, Layer(length.contents_hu[int(number / part)], 2.6))


def _folded(length: _Bowel) -> Tube:
    pieces = 7
    steps = np.arange((len(length.path) - 1) * pieces + 1)
    smooth = tube(length.path, length.radius_mm, pieces=pieces)
    radii = length.radius_mm + length.folds * np.sin(steps * 1.7)
    return tuple(
        type(one)(one.start, one.stop, float(first), float(second))
        for one, first, second in zip(smooth, radii[:-1], radii[1:], strict=True)
    )


def _gas_above(level_y: float, fluid_hu: float) -> Shade:
    """Fluid with gas above it: the patient is supine, so gas collects in front."""

    def shade(_x: Array, y: Array, _z: Array) -> Array:
        gas = np.clip((np.float32(level_y) - y) * np.float32(0.8) + np.float32(0.5), 0, 1)
        shaded: Array = np.float32(fluid_hu) + gas * np.float32(AIR_HU - fluid_hu)
        return shaded

    return shade
