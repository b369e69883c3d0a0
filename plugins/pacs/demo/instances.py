"""Whole instances of the common IODs: CT, MR, CR, ultrasound, secondary capture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    MRImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from pacs.demo.attributes import Series, dicom_date, new_instance
from pacs.demo.geometry import SliceStack
from pacs.demo.pixels import Photometric, set_color, set_frame_time, set_gray, set_palette_color, set_window

# Stored CT values are 12 bit and unsigned: Hounsfield units plus this.
CT_OFFSET_HU = 1024


def ct_image(series: Series, stack: SliceStack, index: int, hounsfield: NDArray[np.integer]) -> Dataset:
    """Make slice `index` (counted from 0) of a CT series (DICOM PS3.3 A.3), shape (rows, columns)."""
    dataset = _slice(series, CTImageStorage, stack, index)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.KVP = 120
    dataset.XRayTubeCurrent = 240
    dataset.ExposureTime = 500
    dataset.ConvolutionKernel = "B30f"
    dataset.GantryDetectorTilt = 0
    dataset.TableHeight = 140
    dataset.AcquisitionNumber = 1
    stored = np.clip(hounsfield.astype(np.int32) + CT_OFFSET_HU, 0, 4095).astype(np.uint16)
    set_gray(dataset, stored, bits_stored=12)
    dataset.RescaleIntercept = -CT_OFFSET_HU
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    set_window(dataset, 50, 400)
    return dataset


@dataclass(frozen=True)
class MrSequence:
    """How an MR series was acquired."""

    scanning_sequence: str
    repetition_time_ms: float
    echo_time_ms: float
    echo_train_length: int


def mr_image(
    series: Series, stack: SliceStack, index: int, signal: NDArray[np.uint16], sequence: MrSequence
) -> Dataset:
    """Make slice `index` (counted from 0) of an MR series (DICOM PS3.3 A.4), shape (rows, columns), 12 bit."""
    dataset = _slice(series, MRImageStorage, stack, index)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.ScanningSequence = sequence.scanning_sequence
    dataset.SequenceVariant = "SK"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime = sequence.repetition_time_ms
    dataset.EchoTime = sequence.echo_time_ms
    dataset.EchoTrainLength = sequence.echo_train_length
    dataset.MagneticFieldStrength = 1.5
    dataset.FlipAngle = 90
    dataset.NumberOfAverages = 1
    dataset.AcquisitionNumber = 1
    set_gray(dataset, signal, bits_stored=12)
    low, high = np.percentile(signal[::4, ::4], (2, 99.5))
    set_window(dataset, float(round((low + high) / 2)), float(max(round(high - low), 1)))
    return dataset


@dataclass(frozen=True)
class Projection:
    """One radiographic view: ViewPosition and PatientOrientation as DICOM writes them."""

    view_position: str
    patient_orientation: tuple[str, str]


def cr_image(
    series: Series,
    instance_number: int,
    absorbed: NDArray[np.uint16],
    projection: Projection,
    *,
    pixel_mm: float,
    photometric: Photometric = Photometric.MONOCHROME2,
) -> Dataset:
    """Make a CR image (DICOM PS3.3 A.2) of 12 bit from how much each pixel's rays were absorbed.

    In MONOCHROME1 low values are shown white, so the values are stored the other way round: both look the same.
    """
    dataset = _acquired(series, ComputedRadiographyImageStorage, instance_number)
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.ViewPosition = projection.view_position
    dataset.PatientOrientation = list(projection.patient_orientation)
    dataset.KVP = 117
    dataset.PlateType = "Fantasma"
    dataset.ImagerPixelSpacing = [pixel_mm, pixel_mm]
    pixels = 4095 - absorbed if photometric is Photometric.MONOCHROME1 else absorbed
    set_gray(dataset, pixels, bits_stored=12, photometric=photometric)
    set_window(dataset, 2048, 4096)
    return dataset


@dataclass(frozen=True)
class UltrasoundRegion:
    """A calibrated region of an ultrasound picture: pixels (x, y) of two corners, and what a pixel measures."""

    corners: tuple[int, int, int, int]
    reference_pixel: tuple[int, int]
    centimeters_per_pixel: float


def ultrasound_loop(
    series: Series, instance_number: int, frames: NDArray[np.uint8], region: UltrasoundRegion, *, frame_time_ms: float
) -> Dataset:
    """Make an ultrasound multi-frame instance (DICOM PS3.3 A.7), frames of shape (frames, rows, columns, 3), RGB."""
    dataset = _acquired(series, UltrasoundMultiFrameImageStorage, instance_number)
    # Value 4 has a code of its own here: 0011 is "2D image with color flow" (PS3.3 C.8.5.6.1.1).
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "TTE", "0011"]
    dataset.PatientOrientation = ""
    set_color(dataset, frames)
    set_frame_time(dataset, frame_time_ms)
    dataset.HeartRate = 60
    dataset.TransducerData = ["S5-1", "", ""]
    dataset.SequenceOfUltrasoundRegions = [_region(region)]
    return dataset


def _region(region: UltrasoundRegion) -> Dataset:
    item = Dataset()
    left, top, right, bottom = region.corners
    item.RegionSpatialFormat = 1  # 2D
    item.RegionDataType = 1  # tissue
    item.RegionFlags = 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    item.ReferencePixelX0, item.ReferencePixelY0 = region.reference_pixel
    item.ReferencePixelPhysicalValueX = item.ReferencePixelPhysicalValueY = 0.0
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3  # cm
    item.PhysicalDeltaX = item.PhysicalDeltaY = region.centimeters_per_pixel
    return item


_MULTI_FRAME_CAPTURES: Mapping[tuple[int, int], UID] = {
    (1, 8): MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    (1, 16): MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    (3, 8): MultiFrameTrueColorSecondaryCaptureImageStorage,
}


def capture(
    series: Series,
    instance_number: int,
    pixels: NDArray[np.integer],
    *,
    photometric: Photometric = Photometric.MONOCHROME2,
    bits_stored: int | None = None,
    palette: NDArray[np.uint8] | None = None,
) -> Dataset:
    """Make a secondary capture of any kind of pixels (DICOM PS3.3 A.8), single or multi-frame.

    Parameters
    ----------
    pixels : RGB of shape ([frames,] rows, columns, 3) for the color interpretations, else ([frames,] rows, columns).
    bits_stored : all that the dtype has, unless told.
    palette : shape (256, 3), for PALETTE COLOR only.
    """
    color = photometric in {Photometric.RGB, Photometric.YBR_FULL, Photometric.YBR_FULL_422}
    multi_frame = pixels.ndim - color == 3  # noqa: PLR2004 -- frames, rows, columns
    bits = pixels.dtype.itemsize * 8
    sop_class_uid = _MULTI_FRAME_CAPTURES[3 if color else 1, bits] if multi_frame else SecondaryCaptureImageStorage
    dataset = _acquired(series, sop_class_uid, instance_number)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ConversionType = "SYN"
    dataset.PatientOrientation = ""
    if not series.body_part:
        dataset.Laterality = ""  # type 2C: unknown, as the body part is
    if color:
        set_color(dataset, pixels.astype(np.uint8), photometric=photometric)
    elif palette is not None:
        set_palette_color(dataset, pixels.astype(np.uint8), palette)
    else:
        set_gray(dataset, pixels, bits_stored=bits_stored or bits, photometric=photometric)
    if multi_frame:
        dataset.BurnedInAnnotation = "NO"
        if not color:
            dataset.PresentationLUTShape = "IDENTITY"
            dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
        set_frame_time(dataset, 100.0)
    return dataset


def _slice(series: Series, sop_class_uid: UID, stack: SliceStack, index: int) -> Dataset:
    """Start a slice of a stack: what CT and MR have in common."""
    dataset = _acquired(series, sop_class_uid, index + 1)
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = series.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    dataset.PatientOrientation = ""
    stack.add_to(dataset, index)
    return dataset


def _acquired(series: Series, sop_class_uid: UID, instance_number: int) -> Dataset:
    """Start an image that came into being on the study's day, each a little after the one before."""
    dataset = new_instance(series, sop_class_uid, instance_number)
    seconds = timedelta(hours=series.study.time.hour, minutes=series.study.time.minute + series.number)
    seconds += timedelta(milliseconds=250 * instance_number)
    day = dicom_date(series.study.date)
    total = int(seconds.total_seconds())
    moment = f"{total // 3600 % 24:02d}{total // 60 % 60:02d}{total % 60:02d}.{seconds.microseconds:06d}"
    dataset.ContentDate = dataset.AcquisitionDate = day
    dataset.ContentTime = dataset.AcquisitionTime = moment
    return dataset
