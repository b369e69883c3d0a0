"""The trunk phantom's frame: where its contours, spine and diaphragm run.

The phantom is 480 mm high: z = 0 lies at the first sacral vertebra, z = 480 at the first thoracic one. The patient is
supine with the arms raised. All lengths are millimeters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pacs.demo.canvas import Array, Box
from pacs.demo.solids import Formula, Section, Torso

SKIN = Torso(
    (
        Section(-40, 172, 104, -2),
        Section(0, 172, 104, -2),
        Section(60, 163, 101, -3),
        Section(110, 155, 99, -3),
        Section(160, 154, 100, -2),
        Section(210, 157, 104, 0),
        Section(260, 161, 108, 0),
        Section(310, 164, 110, 0),
        Section(360, 167, 108, 3),
        Section(400, 169, 100, 8),
        Section(430, 169, 89, 12),
        Section(455, 165, 80, 18),
        Section(480, 152, 70, 24),
        Section(520, 140, 64, 28),
    ),
    dent_mm=7,
    dent_width_mm=22,
)
MUSCLE = Torso(
    (
        Section(-40, 148, 82, 2),
        Section(0, 146, 80, 2),
        Section(60, 139, 80, 2),
        Section(110, 137, 82, 2),
        Section(160, 138, 86, 1),
        Section(210, 144, 94, 1),
        Section(260, 149, 100, 1),
        Section(310, 153, 102, 1),
        Section(360, 156, 98, 4),
        Section(400, 157, 89, 9),
        Section(430, 156, 79, 13),
        Section(455, 152, 70, 19),
        Section(480, 140, 61, 25),
        Section(520, 128, 56, 29),
    ),
    dent_mm=8,
    dent_width_mm=16,
)
# The surface that runs through the middle of the ribs and, below them, along the inside of the abdominal wall.
CAGE = Torso(
    (
        Section(-40, 118, 74, -2),
        Section(0, 118, 74, -2),
        Section(60, 120, 76, -2),
        Section(110, 122, 79, -1),
        Section(160, 127, 83, 0),
        Section(210, 134, 89, 1),
        Section(260, 139, 94, 1),
        Section(310, 139, 94, 1),
        Section(360, 131, 88, 4),
        Section(400, 113, 76, 12),
        Section(430, 92, 62, 21),
        Section(455, 66, 46, 31),
        Section(470, 44, 34, 38),
        Section(480, 22, 18, 42),
    ),
    dent_mm=26,
)
CAVITY = Torso(CAGE.sections, dent_mm=CAGE.dent_mm, dent_width_mm=CAGE.dent_width_mm, inset_mm=7)


@dataclass(frozen=True)
class VertebraLevel:
    """One vertebra: its name and the middle of its body."""

    name: str
    z: float

    @property
    def y(self) -> float:
        """Where the spine's curve has this vertebra."""
        return float(spine_y(np.array(self.z, np.float32)))

    @property
    def size(self) -> float:
        """Size against a lumbar vertebra."""
        return float(np.interp(self.z, (40, 200, 480), (1.0, 0.86, 0.62)))


_LEVELS = (
    ("S1", 2),
    ("L5", 40),
    ("L4", 76),
    ("L3", 112),
    ("L2", 148),
    ("L1", 183),
    ("T12", 216),
    ("T11", 246),
    ("T10", 275),
    ("T9", 303),
    ("T8", 329),
    ("T7", 354),
    ("T6", 378),
    ("T5", 401),
    ("T4", 423),
    ("T3", 444),
    ("T2", 464),
    ("T1", 483),
)
VERTEBRAE = tuple(VertebraLevel(name, z) for name, z in _LEVELS)


def spine_y(z: Array) -> Array:
    """Return where the middle of the vertebral bodies lies: lumbar lordosis, thoracic kyphosis."""
    heights = (-40, 0, 40, 112, 183, 275, 354, 423, 483, 520)
    return np.asarray(np.interp(z, heights, (56, 44, 35, 27, 34, 47, 53, 50, 41, 34)), np.float32)


def right_dome_z(x: Array, y: Array) -> Array:
    """Return the height of the right half of the diaphragm."""
    return _dome(x, y, top=302, middle_x=-66)


def left_dome_z(x: Array, y: Array) -> Array:
    """Return the height of the left half of the diaphragm."""
    return _dome(x, y, top=290, middle_x=70)


def _dome(x: Array, y: Array, *, top: float, middle_x: float) -> Array:
    sideways = (x - np.float32(middle_x)) ** 2 * np.float32(0.0115)
    return np.float32(top) - sideways - (y + np.float32(22)) ** 2 * np.float32(0.0088)


def below_diaphragm(x: Array, y: Array, z: Array) -> Array:
    """Distance to the abdomen's side of the diaphragm."""
    # Domes are steep at their borders: two thirds of the height difference is about the true distance.
    return (z - np.maximum(right_dome_z(x, y), left_dome_z(x, y))) * np.float32(0.66)


_TRUNK = Box((-140, -100, -40), (140, 100, 520))
ABDOMEN_SIDE = Formula(Box((-140, -100, -40), (140, 100, 310)), below_diaphragm)


def _right_lung(x: Array, y: Array, z: Array) -> Array:
    apart: Array = np.maximum((right_dome_z(x, y) - z) * np.float32(0.66), x + _mediastinum(y, z))
    return apart


def _left_lung(x: Array, y: Array, z: Array) -> Array:
    apart: Array = np.maximum((left_dome_z(x, y) - z) * np.float32(0.66), _mediastinum(y, z) - x)
    return apart


def _mediastinum(y: Array, z: Array) -> Array:
    """Half width of the mediastinum: narrow behind the sternum, wide at the hila, narrower before the spine."""
    ramp = np.clip((y + np.float32(86)) / np.float32(72), 0, 1)
    recess = np.float32(8) * np.exp(-(((y - spine_y(z) + 24) / np.float32(13)) ** 2))
    widened = np.float32(16) * ramp * ramp * (3 - 2 * ramp)
    half_width: Array = np.float32(9) + widened - recess + 2 * np.sin(z * np.float32(0.045))
    return half_width


RIGHT_LUNG_SIDE = Formula(Box((-140, -100, 180), (-5, 100, 482)), _right_lung)
LEFT_LUNG_SIDE = Formula(Box((5, -100, 180), (140, 100, 482)), _left_lung)
