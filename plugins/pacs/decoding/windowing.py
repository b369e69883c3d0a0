"""Stored samples as a picture: modality values, the file's first window, bytes.

Sources: PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.16.2.9 and C.7.6.16.2.10 (the same for each frame).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing

# Beyond every modality value: where a window ends, below and above.
_BEYOND = (-1e6, 1e6)
_MOST = 255.0

type Samples = np.ndarray[Any, np.dtype[Any]]


def as_bytes(samples: Samples, dataset: Dataset, frame: int) -> Samples:
    """Return one frame as 8 bit samples, shape (rows, columns) or (rows, columns, 3).

    Parameters
    ----------
    samples : the frame as stored, (rows, columns) or (rows, columns, 3) in RGB.
    dataset : what describes it; changed where the frame has values of its own.
    """
    interpretation = dataset.PhotometricInterpretation
    if interpretation == "PALETTE COLOR":
        colors = apply_color_lut(samples, dataset)
        return _scaled(colors, 0, np.iinfo(colors.dtype).max)
    if samples.ndim > 2:  # noqa: PLR2004 - has a dimension for color
        return _scaled(samples, 0, 2**dataset.BitsStored - 1)
    _adopt_values_of_frame(dataset, frame)
    gray = _windowed(apply_modality_lut(samples, dataset), dataset)
    return 255 - gray if interpretation == "MONOCHROME1" else gray


def _windowed(values: Samples, dataset: Dataset) -> Samples:
    """Apply the first VOI LUT or window; without one, show all that is there."""
    if dataset.get("VOILUTSequence"):
        bits = dataset.VOILUTSequence[0].LUTDescriptor[2]
        return _scaled(apply_voi(np.rint(values).astype(np.int64), dataset), 0, 2**bits - 1)
    if dataset.get("WindowWidth") is not None and dataset.get("WindowCenter") is not None:
        shown = apply_windowing(np.append(values.astype(np.float64), _BEYOND), dataset)
        return _scaled(shown[:-2].reshape(values.shape), *shown[-2:])
    return _scaled(values, values.min(), values.max())


def _scaled(values: Samples, lowest: float, highest: float) -> Samples:
    span = max(float(highest) - float(lowest), 1e-9)
    return np.clip((values - float(lowest)) / span * _MOST, 0, _MOST).astype(np.uint8)


def _adopt_values_of_frame(dataset: Dataset, frame: int) -> None:
    """Bring rescale and window of an enhanced multi-frame image to where those of a single one stand."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    each = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for groups in (*shared[:1], *each[frame : frame + 1]):
        for keyword in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in groups.get(keyword) or []:
                dataset.update(item)
