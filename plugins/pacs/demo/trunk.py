"""The trunk phantom: a thorax and abdomen in Hounsfield units, with contrast medium, on a CT table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pacs.demo.canvas import Array, Box, Canvas, Layer
from pacs.demo.noise import NoiseBank
from pacs.demo.solids import Common, Ellipsoid, Formula
from pacs.demo.trunk_bones import paint_bones
from pacs.demo.trunk_frame import ABDOMEN_SIDE, CAVITY, MUSCLE, SKIN, spine_y
from pacs.demo.trunk_organs import FAT_HU, paint_abdomen, paint_bowel, paint_heart, paint_lungs
from pacs.demo.trunk_vessels import paint_airways, paint_great_vessels, paint_pulmonary_arteries
from pacs.demo.tubes import mirrored, paint_tube, tube

MUSCLE_HU = 58
SKIN_HU = 25
_BLOCK_SLICES = 4


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: the first center on each axis, the spacing and the count, in the order x, y, z."""

    first_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    counts: tuple[int, int, int]

    def axis(self, number: int) -> Array:
        """Return the centers along one axis (0 is x), in millimeters."""
        return (self.first_mm[number] + self.spacing_mm[number] * np.arange(self.counts[number])).astype(np.float32)


def render_trunk(grid: Grid, *, table: bool = True, threads: int = 2) -> Array:
    """Return the phantom's Hounsfield units, shape (slices, rows, columns), free of noise; slices go to the head."""
    softness_mm = 1.1 * max(grid.spacing_mm[0], grid.spacing_mm[2] * 0.45)
    volume = np.empty(grid.counts[::-1], np.float32)

    def render(start: int) -> None:
        part = slice(start, start + _BLOCK_SLICES)
        canvas = Canvas(grid.axis(0), grid.axis(1), grid.axis(2)[part], background=-1000, softness_mm=softness_mm)
        _paint_everything(canvas, table=table)
        volume[part] = canvas.values

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(render, range(0, grid.counts[2], _BLOCK_SLICES)))
    return volume


def scan_trunk(grid: Grid, *, noise_hu: float = 11.0, seed: int = 2025) -> np.ndarray:
    """Return a CT scan of the phantom as int16 Hounsfield units, with the noise that a scanner would add."""
    volume = render_trunk(grid)
    scan = np.empty(volume.shape, np.int16)
    bank = NoiseBank(seed)
    for number, values in enumerate(volume):
        values += bank.plane(number, values.shape, noise_hu)
        np.clip(values, -1024, 3071, out=values)
        scan[number] = np.rint(values)
    return scan


def _paint_everything(canvas: Canvas, *, table: bool) -> None:
    if table:
        canvas.paint(_TABLE, Layer(-180), Layer(-940, 2.0))
    _paint_walls(canvas)
    paint_lungs(canvas)
    paint_pulmonary_arteries(canvas)
    paint_heart(canvas)
    paint_abdomen(canvas)
    _paint_back_muscles(canvas)
    paint_bowel(canvas)
    paint_great_vessels(canvas)
    paint_airways(canvas)
    paint_bones(canvas)


def _paint_walls(canvas: Canvas) -> None:
    """Paint skin, fat under it, the muscles of the wall with a sheet of fat between them, and the cavity's fat."""
    canvas.paint(SKIN, Layer(SKIN_HU), Layer(FAT_HU, 2.0))
    canvas.paint(MUSCLE, Layer(MUSCLE_HU), Layer(-35, 5.0), Layer(MUSCLE_HU, 6.4))
    canvas.paint(CAVITY, Layer(FAT_HU + 6))
    canvas.paint(Common((ABDOMEN_SIDE, CAVITY)), Layer(52), Layer(FAT_HU, 2.5))


def _paint_back_muscles(canvas: Canvas) -> None:
    """Paint psoas and erector spinae on both sides of the spine."""
    psoas = tube(((21, 36, 196), (30, 32, 150), (39, 32, 100), (48, 28, 50), (60, 16, 0), (66, 4, -40)), (6, 13, 18, 20, 19, 17))
    sides = (psoas, mirrored(psoas))
    for side in sides:
        paint_tube(canvas, side, Layer(62))
    columns = tuple(tube([(side * 32, float(spine_y(np.float32(z))) + 41, z) for z in range(-40, 521, 40)], 16.5, pieces=3) for side in (1, -1))
    for column in columns:
        paint_tube(canvas, column, Layer(-30), Layer(56, 1.2))
    canvas.paint(Ellipsoid((0, -70, 90), (38, 7, 130)), Layer(-40), Layer(60, 1.0))


def _table(x: Array, y: Array, z: Array) -> Array:
    """Distance to a table top: a shallow trough above, rounder below."""
    upper = np.float32(117) - x * x * np.float32(0.00115)
    lower = np.float32(150) - x * x * np.float32(0.0019)
    return np.maximum(np.maximum(upper - y, y - lower), np.abs(x) - np.float32(205)) + 0 * z


_TABLE = Formula(Box((-205, 60, -np.inf), (205, 152, np.inf)), _table)
