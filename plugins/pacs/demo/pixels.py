"""Pixels of every kind that modalities send (DICOM PS3.3 C.7.6.3, PS3.5 8)."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset


class Photometric(StrEnum):
    """Values of PhotometricInterpretation that the generator writes."""

    MONOCHROME1 = "MONOCHROME1"
    MONOCHROME2 = "MONOCHROME2"
    PALETTE_COLOR = "PALETTE COLOR"
    RGB = "RGB"
    YBR_FULL = "YBR_FULL"
    YBR_FULL_422 = "YBR_FULL_422"


def set_gray(
    dataset: Dataset,
    pixels: NDArray[np.integer],
    *,
    bits_stored: int,
    photometric: Photometric = Photometric.MONOCHROME2,
) -> None:
    """Write `pixels`, shape (rows, columns) or (frames, rows, columns), as one sample per pixel.

    The dtype decides over BitsAllocated (8 or 16) and over the sign; every value must fit into `bits_stored`.
    """
    signed = np.issubdtype(pixels.dtype, np.signedinteger)
    low, high = (-(1 << bits_stored - 1), (1 << bits_stored - 1) - 1) if signed else (0, (1 << bits_stored) - 1)
    if pixels.min() < low or pixels.max() > high:
        raise ValueError(f"pixels from {pixels.min()} to {pixels.max()} do not fit into {bits_stored} bits")
    _describe(dataset, pixels, samples=1, photometric=photometric, bits_stored=bits_stored)


def set_color(dataset: Dataset, pixels: NDArray[np.uint8], *, photometric: Photometric = Photometric.RGB) -> None:
    """Write RGB `pixels`, shape ([frames,] rows, columns, 3), in the color space that is asked for.

    YBR_FULL_422 stores chrominance for every second column only, so columns must be even.
    """
    stored = pixels if photometric is Photometric.RGB else rgb_to_ybr_full(pixels)
    _describe(dataset, stored, samples=3, photometric=photometric, bits_stored=8)
    dataset.PlanarConfiguration = 0
    if photometric is Photometric.YBR_FULL_422:
        _set_bytes(dataset, _subsampled(stored))


def set_palette_color(dataset: Dataset, indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> None:
    """Write `indices`, shape ([frames,] rows, columns), into `palette`, shape (256, 3), RGB."""
    _describe(dataset, indices, samples=1, photometric=Photometric.PALETTE_COLOR, bits_stored=8)
    for channel, color in enumerate(("Red", "Green", "Blue")):
        # The entries are 16 bit wide, as nearly all writers have them: 8 bit tables are read differently by readers.
        table = palette[:, channel].astype("<u2") * 257
        setattr(dataset, f"{color}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{color}PaletteColorLookupTableData", table.tobytes())


def set_window(dataset: Dataset, center: float, width: float) -> None:
    """Tell viewers which values to show first (VOI LUT module)."""
    dataset.WindowCenter = center
    dataset.WindowWidth = width


def set_frame_time(dataset: Dataset, frame_time_ms: float) -> None:
    """Make a multi-frame instance a film: cine and multi-frame modules."""
    dataset.FrameTime = frame_time_ms
    dataset.FrameIncrementPointer = 0x00181063
    dataset.RecommendedDisplayFrameRate = round(1000 / frame_time_ms)
    dataset.CineRate = round(1000 / frame_time_ms)


def rgb_to_ybr_full(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert colors as DICOM PS3.3 C.7.6.3.1.2 says, shape (..., 3)."""
    matrix = np.array(((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)))
    converted: NDArray[np.float64] = pixels @ matrix.T + (0, 128, 128)
    return np.clip(np.rint(converted), 0, 255).astype(np.uint8)


def _describe(
    dataset: Dataset, pixels: NDArray[np.integer], *, samples: int, photometric: Photometric, bits_stored: int
) -> None:
    plane = pixels.shape[:-1] if samples > 1 else pixels.shape
    *frames, rows, columns = plane
    dataset.SamplesPerPixel = samples
    dataset.PhotometricInterpretation = photometric.value
    if frames:
        dataset.NumberOfFrames = frames[0]
    dataset.Rows, dataset.Columns = rows, columns
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored = bits_stored
    dataset.HighBit = bits_stored - 1
    dataset.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    _set_bytes(dataset, pixels)


def _set_bytes(dataset: Dataset, pixels: NDArray[np.integer]) -> None:
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()
    dataset.PixelData = little + b"\0" * (len(little) % 2)
    dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"


def _subsampled(ybr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep Y of both columns of each pair and the mean Cb and Cr, in the order Y Y Cb Cr."""
    pairs = ybr.reshape(*ybr.shape[:-2], ybr.shape[-2] // 2, 2, 3).astype(np.uint16)
    chroma = (pairs[..., 0, 1:] + pairs[..., 1, 1:] + 1) // 2
    return np.concatenate((pairs[..., 0], chroma), axis=-1).astype(np.uint8)
