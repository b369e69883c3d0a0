"""The trunk phantom: organs where they belong, with the Hounsfield units they have in patients."""

from __future__ import annotations

import numpy as np
import pytest

from pacs.demo.canvas import Grid, Point
from pacs.demo.trunk import render_trunk, scan_trunk

_SMALL = Grid((-195.0, -185.0, 150.0), (6.25, 6.25, 10.0), (64, 64, 4))

# Ranges as radiology teaches them, for a patient with contrast medium in the portal phase.
_ORGANS: dict[str, tuple[Point, float, float]] = {
    "air beside the patient": ((190, -150, 200), -1000, -990),
    "fat under the skin": ((0, -96, 110), -120, -90),
    "psoas muscle": ((40, 32, 100), 45, 75),
    "right lung": ((-80, 10, 345), -900, -780),
    "left lung": ((85, 10, 345), -900, -780),
    "trachea": ((0, 7, 460), -1000, -950),
    "liver": ((-100, 0, 235), 90, 130),
    "cyst of the liver": ((-88, 18, 248), -5, 20),
    "gallbladder": ((-60, -58, 172), 0, 20),
    "spleen": ((102, 45, 235), 100, 150),
    "cortex of the right kidney": ((-66, 60, 158), 150, 250),
    "cortex of the left kidney": ((84, 46, 170), 150, 250),
    "gas in the stomach": ((50, -50, 240), -1000, -950),
    "fluid in the stomach": ((55, -10, 240), 0, 50),
    "left ventricle": ((33, -26, 310), 250, 400),
    "descending aorta": ((22, 33, 330), 250, 450),
    "abdominal aorta": ((5, 6, 182), 250, 450),
    "inferior vena cava": ((-20, 9, 190), 130, 200),
    "third lumbar vertebra": ((0, 27, 112), 150, 300),
    "disc between vertebrae": ((0, 27, 94), 60, 110),
    "spinal canal": ((0, 55, 112), 0, 40),
}


@pytest.mark.parametrize("organ", _ORGANS)
def test_trunk_has_plausible_hounsfield_units_in_each_organ(organ: str) -> None:
    """A voxel in the middle of an organ has the value that the organ has in a patient."""
    place, low, high = _ORGANS[organ]
    assert low <= _value_at(place) <= high


def test_aorta_divides_into_two_iliac_arteries() -> None:
    """One bright lumen runs before the spine above the fourth lumbar vertebra, two below it."""
    above, below = (_bright_runs(_row(z, y)) for z, y in ((130, 0), (50, 15)))
    assert above == 1
    assert below == 2


def test_trunk_is_upright_and_not_mirrored() -> None:
    """The liver lies on the patient's right (x < 0), the spleen on the left, the spine at the back, lungs above."""
    volume = render_trunk(Grid((-195, -185, 0), (6.25, 6.25, 12), (64, 64, 40)))
    x = -195 + 6.25 * np.arange(64)
    y = -185 + 6.25 * np.arange(64)
    liver = np.argwhere(np.abs(volume[18:21] - 108) < 1)
    assert np.median(x[liver[:, 2]]) < -50
    bone = np.argwhere(volume[8:12] > 500)
    assert np.median(y[bone[:, 1]]) > 15
    air_in_body = ((volume > -900) & (volume < -750)).sum(axis=(1, 2))
    assert air_in_body[28:36].min() > 2 * air_in_body[:12].max()


def test_scan_is_the_same_every_time() -> None:
    """Generating twice gives the same voxels, noise included."""
    assert np.array_equal(scan_trunk(_SMALL), scan_trunk(_SMALL))


def test_scan_adds_noise_of_the_given_strength() -> None:
    """The standard deviation in air and in the liver is the one asked for."""
    clean = render_trunk(_SMALL)
    noisy = scan_trunk(_SMALL, noise_hu=11)
    difference = (noisy - clean)[(clean > -900) & (clean < 1000)]
    assert difference.std() == pytest.approx(11, rel=0.15)
    assert abs(difference.mean()) < 2


def test_scan_stays_within_what_twelve_bits_hold() -> None:
    """No voxel leaves the range of a CT scanner, -1024 to 3071."""
    scan = scan_trunk(_SMALL, noise_hu=400)
    assert scan.min() >= -1024
    assert scan.max() <= 3071


def test_table_is_left_out_when_not_wanted() -> None:
    """A radiograph has no CT table: nothing but air lies behind the patient then."""
    grid = Grid((0, 118, 200), (1, 1, 1), (1, 30, 1))
    assert render_trunk(grid).max() > -500
    assert render_trunk(grid, table=False).max() == -1000


def _value_at(place: Point) -> float:
    return float(render_trunk(Grid(place, (1, 1, 1), (1, 1, 1)))[0, 0, 0])


def _row(z: float, y: float) -> np.ndarray:
    return render_trunk(Grid((-45, y, z), (0.5, 1, 1), (180, 1, 1)))[0, 0]


def _bright_runs(row: np.ndarray) -> int:
    bright = np.concatenate(([False], (row > 280) & (row < 420), [False]))
    return int(np.count_nonzero(np.diff(bright.astype(int)) == 1))
