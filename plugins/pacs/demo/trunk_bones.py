"""The trunk phantom's skeleton: spine, ribs with cartilage, sternum, shoulders, pelvis."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from pacs.demo.canvas import Array, Box, Layer, Point, Solid, Stroke
from pacs.demo.solids import Common, Ellipsoid, Formula
from pacs.demo.trunk_frame import CAGE, VERTEBRAE, VertebraLevel, spine_y
from pacs.demo.tubes import Tube, mirrored, tube, tube_strokes

CORTICAL_HU = 780
TRABECULAR_HU = 230
RIB_MARROW_HU = 260
DISC_HU = 85
CARTILAGE_HU = 105
THECAL_SAC_HU = 22

_BONE = (Layer(CORTICAL_HU), Layer(TRABECULAR_HU, 2.0))
_THIN_BONE = (Layer(CORTICAL_HU), Layer(RIB_MARROW_HU, 1.7))
# How far each rib falls from the spine to its front end, and the height at which its cartilage meets the sternum.
_RIB_DROP_MM = (24, 42, 58, 68, 76, 82, 86, 86, 80, 68, 44, 30)
_STERNUM_Z = (452, 432, 410, 388, 368, 350, 336, 326, 318, 310)
_RIB_END_DEGREES = (128, 136, 142, 146, 148, 146, 142, 136, 128, 118, 88, 62)


def bones() -> Iterator[Stroke]:
    """Yield the whole skeleton."""
    yield from _discs()
    for level in VERTEBRAE:
        yield from _vertebra(level)
    for cartilage in _cartilages():
        yield from tube_strokes(cartilage, Layer(CARTILAGE_HU))
    for rib in _ribs():
        yield from tube_strokes(rib, *_THIN_BONE)
    for plate in (*_sternum(), *_shoulders(), *_pelvis()):
        yield Stroke.of(plate, *_BONE)
    for bar in _shoulder_bars():
        yield from tube_strokes(bar, *_THIN_BONE)


def _discs() -> Iterator[Stroke]:
    """Yield one column of disc material; the vertebral bodies cover most of it."""

    def column(x: Array, y: Array, z: Array) -> Array:
        width = np.interp(z, (40, 200, 480), (24.5, 20.5, 14.5)).astype(np.float32)
        deep = (y - spine_y(z)) / np.float32(0.74)
        return np.sqrt(x * x + deep * deep) - width

    yield Stroke.of(Formula(Box((-26, 0, 10), (26, 80, 490)), column), Layer(DISC_HU))


def _vertebra(level: VertebraLevel) -> Iterator[Stroke]:
    size, y = level.size, level.y
    canal = y + 27 * size + 1
    yield Stroke.of(_body(level), *_BONE)
    for arch in _arches(level, canal):
        yield from tube_strokes(arch, *_THIN_BONE)
    # The canal comes last: it must stay free.
    sac = Ellipsoid((0, canal, level.z), (9.5 * max(size, 0.8), 8 * max(size, 0.8), 60))
    yield Stroke.of(Formula(Box.around((0, canal, level.z), (12, 11, 19)), sac.distance), Layer(THECAL_SAC_HU))


def _body(level: VertebraLevel) -> Formula:
    """Return a drum with a waist, wider than deep, flat behind."""
    size, y, half_height = level.size, level.y, 14.6 * level.size

    def drum(x: Array, up: Array, z: Array) -> Array:
        height = z - np.float32(level.z)
        waist = np.float32(2.2) * (1 - (height / np.float32(half_height)) ** 2)
        deep = np.maximum((up - np.float32(y)) / np.float32(0.74), (up - np.float32(y)) * np.float32(1.55))
        around = np.sqrt(x * x + deep * deep) - (np.float32(25.5 * size) - waist)
        apart: Array = np.maximum(around, np.abs(height) - np.float32(half_height))
        return apart

    return Formula(Box.around((0, y, level.z), (27, 22, half_height)), drum)


def _arches(level: VertebraLevel, canal: float) -> tuple[Tube, ...]:
    """Pedicles, laminae, transverse and spinous processes, facets."""
    size, z, y = level.size, level.z, level.y
    lumbar = level.name.startswith("L")
    behind = canal + 12 * size
    reach, lean = (42.0, 6.0) if lumbar else (31 * size + 8, 16.0)
    fall = 4.0 if lumbar else 20 * size
    side = (
        tube(((11 * size, y + 14 * size, z + 4), (16 * size, canal, z + 3)), 5.2 * size, pieces=2),
        tube(((16 * size, canal, z + 2), (15 * size, behind - 2, z - 6)), 5.4 * size, pieces=2),
        tube(((15 * size, behind - 2, z - 4), (2, behind + 7, z - 8)), 3.8 * size, pieces=2),
        tube(((15 * size, canal, z + 2), (reach, canal + lean, z + 3)), (4.6 * size, 3.4 * size), pieces=3),
        tube(((17 * size, behind - 3, z + 14 * size), (17 * size, behind, z - 18 * size)), 5.6 * size, pieces=2),
    )
    tip = min(canal + 34 * size, 84.0)
    tall = 1.9 if lumbar else 1.3
    spine = tube(((0, behind + 5, z - 7), (0, tip, z - 7 - fall)), (3.6, 4.4), pieces=3, stretch_z=tall)
    return (*side, *(mirrored(part) for part in side), spine)


@functools.cache
def _rib_path(index: int) -> tuple[Point, ...]:
    """Points along a left rib's middle, from the spine to the front end."""
    level = VERTEBRAE[-1 - index]
    head: Point = (15 * level.size + 2, level.y + 15 * level.size, level.z + 6)
    points = [head]
    for share in np.linspace(0, 1, 9):
        angle = np.radians(24 + (_RIB_END_DEGREES[index] - 24) * share)
        fall = _RIB_DROP_MM[index] * (0.35 * share + 0.65 * share**1.6)
        points.append(cage_point(float(angle), level.z - 2 - fall))
    return tuple(points)


def cage_point(angle: float, z: float) -> Point:
    """Return the place on the rib cage at `angle` (radians from the back to the left) and height `z`."""
    width, depth, center = (float(value) for value in CAGE.half_axes(np.array(z, np.float32)))
    # The cage is a superellipse of exponent 2.5: its parametric form raises sine and cosine to 2/2.5.
    sine, cosine = np.sin(angle), np.cos(angle)
    x = width * np.sign(sine) * abs(sine) ** 0.8
    y = center + depth * np.sign(cosine) * abs(cosine) ** 0.8
    dent = CAGE.dent_mm * np.exp(-((x / CAGE.dent_width_mm) ** 2)) if y > center else 0.0
    return float(x), float(y - dent), z


@functools.cache
def _ribs() -> tuple[Tube, ...]:
    left = tuple(tube(_rib_path(index), 3.3, pieces=3, stretch_z=1.75) for index in range(12))
    return left + tuple(mirrored(rib) for rib in left)


@functools.cache
def _cartilages() -> tuple[Tube, ...]:
    """Costal cartilages of the first ten ribs."""
    left = []
    for index, height in enumerate(_STERNUM_Z):
        start = _rib_path(index)[-1]
        stop = cage_point(np.radians(180 - 6), height)
        middle = cage_point((np.arctan2(start[0], 30) + 2 * np.pi) / 2.6, (2 * start[2] + height) / 3 - 4)
        stop = (13, stop[1] - 1, height)
        bend = ((start[0] + stop[0]) / 2, min(middle[1], (start[1] + stop[1]) / 2 - 3), 0.6 * start[2] + 0.4 * height)
        left.append(tube((start, bend, stop), 3.6, pieces=4, stretch_z=1.5))
    return (*left, *(mirrored(one) for one in left))


def _sternum() -> tuple[Ellipsoid, ...]:
    body, manubrium = cage_point(np.pi, 368), cage_point(np.pi, 438)
    return (
        Ellipsoid((0, body[1] - 1, 368), (16, 6, 58), (-14, 0, 0)),
        Ellipsoid((0, manubrium[1] - 2, 436), (27, 7.5, 22), (-32, 0, 0)),
        Ellipsoid((0, cage_point(np.pi, 312)[1] + 3, 304), (7, 4, 16), (6, 0, 0)),
    )


def _shoulders() -> tuple[Solid, ...]:
    """Shoulder blades and the heads of the raised arms."""
    parts: list[Solid] = []
    for side in (1, -1):
        blade = Ellipsoid((side * 104, 68, 392), (42, 4.2, 72), (7, side * 6, -side * 26))
        parts.append(Common((blade, _lateral_border(side))))
        parts.append(Ellipsoid((side * 128, 40, 444), (13, 15, 15)))
        parts.append(Ellipsoid((side * 139, 24, 466), (23, 23, 24)))
    return tuple(parts)


def _lateral_border(side: int) -> Formula:
    """Return what lies toward the spine from the line between the shoulder blade's lower angle and its joint."""

    def border(x: Array, _y: Array, z: Array) -> Array:
        return (x * np.float32(side) - np.float32(130) - (z - np.float32(436)) * np.float32(0.5)) * np.float32(0.89)

    return Formula(Box((-150, 0, 300), (150, 100, 500)), border)


def _shoulder_bars() -> tuple[Tube, ...]:
    """Collar bones and the ridges of the shoulder blades."""
    bars = (
        tube(((19, -14, 455), (48, -21, 462), (84, -8, 470), (118, 4, 482)), (7, 5.5, 5, 5.5)),
        tube(((62, 80, 424), (100, 74, 440), (134, 42, 470)), (4, 5, 6)),
    )
    return (*bars, *(mirrored(bar) for bar in bars))


def _pelvis() -> tuple[Ellipsoid, ...]:
    """Return the wings of the hip bones and the sacrum, as far as the phantom has them."""
    parts: list[Ellipsoid] = [Ellipsoid((0, 52, -8), (56, 17, 26), (18, 0, 0))]
    for side in (1, -1):
        parts.append(Ellipsoid((side * 96, 14, 2), (9, 62, 66), (0, side * 16, side * 34)))
        parts.append(Ellipsoid((side * 68, 56, 0), (15, 15, 40), (0, 0, side * 20)))
    return tuple(parts)
