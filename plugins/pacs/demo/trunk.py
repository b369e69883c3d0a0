"""The trunk phantom: a thorax and abdomen in Hounsfield units, with contrast medium, on a CT table."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pacs.demo.canvas import Array, Box, Grid, Layer, Scene, Stroke
from pacs.demo.noise import NoiseBank
from pacs.demo.solids import Common, Ellipsoid, Formula
from pacs.demo.trunk_bones import bones
from pacs.demo.trunk_frame import ABDOMEN_SIDE, CAVITY, MUSCLE, SKIN, spine_y
from pacs.demo.trunk_organs import FAT_HU, abdomen, bowel, heart, lungs
from pacs.demo.trunk_vessels import airways, great_vessels, mesentery, pulmonary_arteries
from pacs.demo.tubes import mirrored, tube, tube_strokes

MUSCLE_HU = 58
SKIN_HU = 25
EMPTY_HU = -1000


def render_trunk(grid: Grid, *, table: bool = True) -> Array:
    """Return the phantom's Hounsfield units, shape (slices, rows, columns), free of noise; slices go to the head."""
    softness_mm = 1.1 * max(grid.spacing_mm[0], grid.spacing_mm[2] * 0.45)
    return _scene(table=table).render(grid, background=EMPTY_HU, softness_mm=softness_mm)


def scan_trunk(grid: Grid, *, noise_hu: float = 11.0, seed: int = 2025) -> NDArray[np.int16]:
    """Return a CT scan of the phantom as Hounsfield units, with the noise that a scanner would add."""
    volume = render_trunk(grid)
    scan = np.empty(volume.shape, np.int16)
    bank = NoiseBank(seed)
    for number, values in enumerate(volume):
        noisy = values + bank.plane(number, values.shape, noise_hu)
        scan[number] = np.rint(np.clip(noisy, -1024, 3071))
    return scan


@functools.cache
def _scene(*, table: bool) -> Scene:
    return Scene(_everything(table=table))


def _everything(*, table: bool) -> Iterator[Stroke]:
    if table:
        yield Stroke.of(_TABLE, Layer(-180), Layer(-940, 2.0))
    yield from _walls()
    yield from lungs()
    yield from pulmonary_arteries()
    yield from heart()
    yield from _back_muscles()
    yield from abdomen()
    yield from mesentery()
    yield from bowel()
    yield from great_vessels()
    yield from airways()
    yield from bones()


def _walls() -> Iterator[Stroke]:
    """Yield skin, fat under it, the muscles of the wall with a sheet of fat between them, and the cavity's fat."""
    yield Stroke.of(SKIN, Layer(SKIN_HU), Layer(FAT_HU, 2.0))
    yield Stroke.of(MUSCLE, Layer(MUSCLE_HU), Layer(-35, 5.0), Layer(MUSCLE_HU, 6.4))
    yield Stroke.of(CAVITY, Layer(FAT_HU + 6))
    yield Stroke.of(Common((ABDOMEN_SIDE, CAVITY)), Layer(52), Layer(FAT_HU, 2.5))


def _back_muscles() -> Iterator[Stroke]:
    """Yield psoas and erector spinae on both sides of the spine."""
    path = ((21, 36, 196), (30, 32, 150), (39, 32, 100), (48, 28, 50), (60, 16, 0), (66, 4, -40))
    psoas = tube(path, (6, 13, 18, 20, 19, 17))
    yield from tube_strokes((*psoas, *mirrored(psoas)), Layer(62))
    for side in (1, -1):
        yield Stroke.of(_erector_spinae(side), Layer(-38), Layer(56, 1.2))
        # The armpit's fat parts the muscles of chest and back.
        yield Stroke.of(Ellipsoid((side * 126, 8, 424), (13, 30, 66), (4, 0, side * 14)), Layer(FAT_HU + 8))
    yield Stroke.of(Ellipsoid((0, -74, 90), (38, 6, 120)), Layer(-40), Layer(60, 1.0))


def _erector_spinae(side: int) -> Common:
    """Return the long muscle beside the spine, kept inside of the wall's fascia."""

    def column(x: Array, y: Array, z: Array) -> Array:
        across = (x - np.float32(side * 31)) / np.float32(1.55)
        apart: Array = np.sqrt(across * across + (y - spine_y(z) - np.float32(39)) ** 2) - np.float32(17)
        return apart

    return Common((Formula(Box((side * 31 - 28, 40, -40), (side * 31 + 28, 110, 520)), column), MUSCLE))


def _table(x: Array, y: Array, z: Array) -> Array:
    """Distance to a table top: a shallow trough above, rounder below."""
    upper = np.float32(113) - x * x * np.float32(0.00115)
    lower = np.float32(146) - x * x * np.float32(0.0019)
    apart: Array = np.maximum(np.maximum(upper - y, y - lower), np.abs(x) - np.float32(196)) + 0 * z
    return apart


_TABLE = Formula(Box((-196, 60, -np.inf), (196, 152, np.inf)), _table)
