"""CIELab as DICOM writes it, to sRGB.

PS3.3 C.10.7.1.1 calls the values PCS values, whose white is D50. All who write them, 3D Slicer (dcmqi), OHIF (dcmjs)
and highdicom among them, take the white of sRGB, D65, and so do we: a segment has the color that it was given there.
Sources: PS3.3 C.10.7.1.1, CIE 15, IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

_WHITE: Final = np.array([0.95047, 1.0, 1.08883])
_WORD: Final = 65535
_LINEAR_BELOW: Final = 6 / 29
_TO_SRGB: Final = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)
_SRGB_LINEAR_BELOW: Final = 0.0031308


def srgb_of(words: Sequence[int]) -> tuple[int, int, int]:
    """Return RecommendedDisplayCIELabValue, three words of 16 bits, as sRGB of 0 to 255; out of gamut is clipped."""
    lightness, a, b = words[0] / _WORD * 100, words[1] / _WORD * 255 - 128, words[2] / _WORD * 255 - 128
    middle = (lightness + 16) / 116
    roots = np.array([middle + a / 500, middle, middle - b / 200])
    xyz = _WHITE * np.where(roots > _LINEAR_BELOW, roots**3, 3 * _LINEAR_BELOW**2 * (roots - 4 / 29))
    linear = np.clip(_TO_SRGB @ xyz, 0, 1)
    curved = 1.055 * np.power(linear, 1 / 2.4) - 0.055
    red, green, blue = (
        np.rint(np.where(linear <= _SRGB_LINEAR_BELOW, 12.92 * linear, curved) * 255).astype(int).tolist()
    )
    return red, green, blue
