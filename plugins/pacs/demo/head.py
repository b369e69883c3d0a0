"""The head phantom: a brain as T1- and T2-weighted magnetic resonance shows it.

Coordinates are millimeters of the scan's own frame: the origin lies between the lateral ventricles, x to the patient's
left, y to the back, z to the crown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pacs.demo.canvas import Array, Box, Grid, Layer, Point, Scene, Solid, Stroke
from pacs.demo.noise import NoiseBank
from pacs.demo.solids import Common, Ellipsoid, Formula, Without
from pacs.demo.tubes import Tube, mirrored, tube, tube_strokes


class Tissue(Enum):
    """What the head is made of, as far as its signal differs."""

    AIR = auto()
    FAT = auto()
    MUSCLE = auto()
    COMPACT_BONE = auto()
    MARROW = auto()
    FLUID = auto()
    GRAY_MATTER = auto()
    WHITE_MATTER = auto()
    DEEP_NUCLEUS = auto()
    LESION = auto()


type Contrast = Mapping[Tissue, float]

T1_WEIGHTED: Contrast = {
    Tissue.AIR: 12,
    Tissue.FAT: 930,
    Tissue.MUSCLE: 400,
    Tissue.COMPACT_BONE: 45,
    Tissue.MARROW: 430,
    Tissue.FLUID: 135,
    Tissue.GRAY_MATTER: 445,
    Tissue.WHITE_MATTER: 640,
    Tissue.DEEP_NUCLEUS: 500,
    Tissue.LESION: 430,
}
T2_WEIGHTED: Contrast = {
    Tissue.AIR: 12,
    Tissue.FAT: 560,
    Tissue.MUSCLE: 210,
    Tissue.COMPACT_BONE: 40,
    Tissue.MARROW: 260,
    Tissue.FLUID: 1180,
    Tissue.GRAY_MATTER: 560,
    Tissue.WHITE_MATTER: 385,
    Tissue.DEEP_NUCLEUS: 450,
    Tissue.LESION: 860,
}
_BRAIN = Ellipsoid((0, -1, 4), (66, 82, 66))
_CEREBELLUM = Ellipsoid((0, 47, -40), (50, 31, 25), (-14, 0, 0))
_SKULL_BASE = Ellipsoid((0, -78, -52), (52, 54, 30), (8, 0, 0))
_EVERYWHERE = Box((-90, -118, -np.inf), (90, 108, 95))


def scan_head(grid: Grid, contrast: Contrast, *, seed: int) -> NDArray[np.uint16]:
    """Return the signal in each voxel, shape (slices, rows, columns), slices going to the crown.

    The noise is Rician, as in every magnitude image, and the receiving coil is a little stronger near its elements.
    """
    softness_mm = 1.2 * grid.spacing_mm[0]
    volume = Scene(_strokes(contrast)).render(grid, background=contrast[Tissue.AIR], softness_mm=softness_mm)
    x, y = grid.axis(0)[None, :], grid.axis(1)[:, None]
    coil = np.float32(0.86) + (x * x + y * y) * np.float32(2.2e-5) + y * np.float32(4e-4)
    real, imaginary = NoiseBank(seed), NoiseBank(seed + 1)
    scan = np.empty(volume.shape, np.uint16)
    for number, values in enumerate(volume):
        in_phase = values * coil + real.plane(number, values.shape, 13)
        scan[number] = np.clip(np.hypot(in_phase, imaginary.plane(number, values.shape, 13)), 0, 4095)
    return scan


def _strokes(contrast: Contrast) -> Iterator[Stroke]:
    yield from _shell(contrast)
    yield from _face(contrast)
    for cavity in _skull_cavities():
        yield Stroke.of(cavity, Layer(contrast[Tissue.COMPACT_BONE]), Layer(contrast[Tissue.FLUID], 2.5))
    yield Stroke.of(_cortex(), Layer(contrast[Tissue.GRAY_MATTER]), Layer(contrast[Tissue.WHITE_MATTER], 3.0))
    yield from _deep_brain(contrast)
    yield from _back_of_brain(contrast)


def _shell(contrast: Contrast) -> Iterator[Stroke]:
    """Yield scalp and skull."""

    def outline(x: Array, y: Array, z: Array) -> Array:
        # Below the middle the head narrows slowly into the neck.
        low = np.minimum(z, 0)
        width, depth = np.float32(79) + low * np.float32(0.1), np.float32(98) + low * np.float32(0.07)
        up = np.maximum(z, 0) * np.float32(80 / 85)
        apart: Array = (np.sqrt((x / width) ** 2 + ((y + 1) / depth) ** 2 + (up / 80) ** 2) - 1) * np.float32(84)
        return apart

    yield Stroke.of(
        Formula(_EVERYWHERE, outline),
        Layer(contrast[Tissue.MUSCLE]),
        Layer(contrast[Tissue.FAT], 1.6),
        Layer(contrast[Tissue.COMPACT_BONE], 5.2),
        Layer(contrast[Tissue.MARROW], 7.2),
        Layer(contrast[Tissue.COMPACT_BONE], 9.4),
        Layer(contrast[Tissue.MUSCLE], 12.0),
    )


def _skull_cavities() -> tuple[Solid, Solid]:
    """Return what holds the brain: the vault, whose floor rises over the orbits, and the hollow for the cerebellum."""
    vault = Ellipsoid((0, -1, 4), (70, 86, 70.5))
    return Ellipsoid((0, 46, -38), (55, 36, 31)), Without(vault, (_SKULL_BASE,), margin_mm=-3)


def _face(contrast: Contrast) -> Iterator[Stroke]:
    """Yield temples, neck, orbits with eyes, and air spaces, all below the brain's middle."""
    muscle, fat, air = contrast[Tissue.MUSCLE], contrast[Tissue.FAT], contrast[Tissue.AIR]
    yield Stroke.of(Ellipsoid((0, -22, -90), (60, 62, 34)), Layer(fat * 0.6), Layer(muscle, 6))
    yield Stroke.of(Ellipsoid((0, 66, -88), (58, 26, 34)), Layer(muscle))
    for side in (1, -1):
        yield Stroke.of(Ellipsoid((side * 59, -38, -18), (6, 25, 32), (0, 0, side * 18)), Layer(muscle))
        yield Stroke.of(Ellipsoid((side * 31, -60, -40), (18, 26, 17), (0, 0, side * 14)), Layer(fat))
        nerve = tube(((side * 30, -66, -40), (side * 21, -44, -36), (side * 8, -22, -26)), 2.6)
        yield from tube_strokes(nerve, Layer(contrast[Tissue.WHITE_MATTER]))
        for aside in (-12, 12):
            yield Stroke.of(Ellipsoid((side * 29 + aside, -57, -40), (2.6, 16, 4.5), (0, 0, side * 12)), Layer(muscle))
        eye = Ellipsoid((side * 32, -76, -40), (12.2, 12.2, 12.2))
        yield Stroke.of(eye, Layer(contrast[Tissue.COMPACT_BONE] + 150), Layer(contrast[Tissue.FLUID] * 1.05, 1.4))
        yield Stroke.of(Ellipsoid((side * 32, -84, -40), (4.5, 2.2, 4.5)), Layer(contrast[Tissue.COMPACT_BONE] + 120))
        yield Stroke.of(Ellipsoid((side * 27, -60, -72), (14, 18, 14)), Layer(muscle * 1.3), Layer(air, 1.5))
        mastoid = Ellipsoid((side * 61, 26, -48), (8, 13, 12))
        yield Stroke.of(mastoid, Layer(contrast[Tissue.COMPACT_BONE]), Layer(air, 3))
    yield Stroke.of(Ellipsoid((0, -62, -42), (10, 22, 14)), Layer(muscle), Layer(air, 1.4))
    yield Stroke.of(Ellipsoid((0, -24, -40), (14, 13, 11)), Layer(contrast[Tissue.COMPACT_BONE]), Layer(air, 2))


def _cortex() -> Formula:
    """Return the folded cerebrum: the ribbon of gray matter follows both the outer surface and the sulci.

    The sulci are the sheets of a warped gyroid, a periodic minimal surface, that fade out with the depth.
    """
    pace = np.float32(2 * np.pi / 31)
    slow = np.float32(2 * np.pi / 74)
    core = Ellipsoid((0, -4, 6), (300, 45, 27))
    hindbrain = (_CEREBELLUM, _SKULL_BASE, Ellipsoid((0, 12, -44), (19, 20, 34)))

    def outside(x: Array, y: Array, z: Array) -> Array:
        depth = -_BRAIN.distance(x, y, z)
        u = (np.abs(x) + 7 * np.sin(y * slow) + 3 * np.sin(z * slow + 1)) * pace
        v = (y + 7 * np.sin(z * slow * np.float32(1.3)) + 4 * np.sin(x * slow)) * pace
        w = (z + 6 * np.sin(x * slow + 2) + 5 * np.sin(y * slow * np.float32(1.4))) * pace
        gyroid = np.sin(u) * np.cos(v) + np.sin(v) * np.cos(w) + np.sin(w) * np.cos(u)
        sulcus = np.abs(gyroid) / (pace * np.float32(1.35)) + np.maximum(depth - 15, 0) * np.float32(0.8)
        bend = np.float32(1.4) * np.sin(z * np.float32(0.06) + y * np.float32(0.04))
        fissure = np.float32(0.4) + np.abs(x - bend) + np.maximum(-core.distance(x, y, z), 0)
        apart: Array = np.float32(0.9) - np.minimum(np.minimum(depth, sulcus), fissure)
        return apart

    return Formula(_BRAIN.box, Without(Formula(_BRAIN.box, outside), hindbrain, margin_mm=1.8).distance)


def _deep_brain(contrast: Contrast) -> Iterator[Stroke]:
    """Yield the deep nuclei, the ventricles, and a few small lesions of the white matter."""
    nucleus, fluid = contrast[Tissue.DEEP_NUCLEUS], contrast[Tissue.FLUID]
    yield Stroke.of(Ellipsoid((0, 6, -2), (30, 30, 20)), Layer(contrast[Tissue.WHITE_MATTER]))
    for side in (1, -1):
        nuclei: tuple[tuple[Point, Point, Point], ...] = (
            ((side * 13, -24, 13), (5.5, 12, 9), (0, 0, -side * 14)),
            ((side * 26, -6, 4), (6, 18, 12), (0, 0, -side * 14)),
            ((side * 11, 11, 5), (8, 13, 9), (0, 0, -side * 24)),
            ((side * 31, 8, -24), (6, 16, 6), (0, 0, -side * 10)),
        )
        for center, radii, turn in nuclei:
            yield Stroke.of(Ellipsoid(center, radii, turn), Layer(nucleus))
    horn = ((7, -34, 12), (8, -20, 20), (9, 2, 24), (15, 22, 20), (25, 34, 8), (28, 20, -8), (30, 4, -18))
    horns = tube(horn, (3.6, 5.2, 5, 6.6, 6, 3.4, 2))
    yield from tube_strokes(chain(horns, mirrored(horns)), Layer(fluid))
    yield Stroke.of(Ellipsoid((0, -16, 19), (0.8, 16, 6)), Layer(contrast[Tissue.WHITE_MATTER]))
    yield Stroke.of(Ellipsoid((0, 4, -2), (2.2, 14, 10)), Layer(fluid))
    for place, radius in (((-27, -22, 26), 3.2), ((24, 30, 27), 2.6), ((-30, 12, 30), 4.1), ((33, -14, 24), 2.2)):
        yield Stroke.of(Ellipsoid(place, (radius, radius * 1.3, radius)), Layer(contrast[Tissue.LESION]))


def _back_of_brain(contrast: Contrast) -> Iterator[Stroke]:
    """Yield brain stem and cerebellum with their cisterns."""
    white, fluid = contrast[Tissue.WHITE_MATTER], contrast[Tissue.FLUID]
    stem: Tube = tube(((0, 8, -12), (0, 12, -30), (0, 18, -48), (0, 26, -84)), (13, 14.5, 13, 8))
    yield Stroke.of(_folia(), Layer(contrast[Tissue.GRAY_MATTER]), Layer(white, 1.6))
    yield Stroke.of(Ellipsoid((0, 44, -38), (30, 14, 9)), Layer(white))
    yield from tube_strokes(tube(((0, 12, -40), (0, 26, -84)), (19, 13)), Layer(fluid))
    yield from tube_strokes(stem, Layer(white * 0.97))
    yield Stroke.of(Ellipsoid((0, 33, -36), (8, 5, 9)), Layer(fluid))
    yield Stroke.of(Ellipsoid((0, 21, -16), (3, 3, 5)), Layer(fluid))


def _folia() -> Solid:
    """Return the cerebellum with its fine, nearly level folds."""

    def folds(x: Array, y: Array, z: Array) -> Array:
        depth = -_CEREBELLUM.distance(x, y, z)
        height = z * np.float32(0.56) + np.abs(x) * np.float32(0.14) - y * np.float32(0.22)
        apart: Array = np.float32(0.7) - np.abs(np.sin(height)) * np.float32(2.6) - np.maximum(depth - 8, 0)
        return apart

    return Common((_CEREBELLUM, Formula(_CEREBELLUM.box, folds)))
