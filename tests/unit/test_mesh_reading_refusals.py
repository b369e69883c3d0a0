"""What is no volume is refused by name, with the instance at fault."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    NuclearMedicineImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from fixtures.mesh_series import (
    AXIAL,
    OBLIQUE,
    SAGITTAL,
    along,
    ct_slice,
    enhanced,
    series,
    with_samples,
    without,
    written,
)
from fixtures.transfer_syntaxes import in_syntax
from pacs.mesh import errors
from pacs.mesh.errors import MeshCancelled, MeshError
from pacs.mesh.reading.series import InstanceFile, estimate, read_series

EVEN = [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
type Refused = tuple[list[Dataset], type[MeshError], list[Dataset]]


def _missing_slice() -> Refused:
    images = series(along(AXIAL, EVEN))
    return images[:3] + images[4:], errors.MissingSlice, [images[2], images[4]]


def _missing_slice_renumbered() -> Refused:
    images = series(along(AXIAL, [0.0, 2.0, 4.0, 8.0, 10.0, 12.0]))
    return images, errors.MissingSlice, images[2:4]


def _missing_block() -> Refused:
    images = series(along(OBLIQUE, [0.0, 2.0, 4.0, 6.0, 16.0, 18.0, 20.0]))
    return images, errors.MissingSlice, images[3:5]


def _missing_last_but_one() -> Refused:
    images = series(along(AXIAL, [0.0, 5.0, 10.0, 20.0]))
    return images, errors.MissingSlice, images[2:4]


def _missing_many() -> Refused:
    images = series(along(AXIAL, [2.0 * number for number in range(12)]))
    left = [images[number] for number in (0, 2, 3, 5, 6, 8, 9, 11)]
    return left, errors.MissingSlice, left[:2]


def _missing_frame() -> Refused:
    image = enhanced(along(AXIAL, [0.0, 2.0, 4.0, 8.0, 10.0, 12.0]))
    return [image], errors.MissingSlice, [image]


def _other_size_between() -> Refused:
    images = series(along(AXIAL, EVEN))
    with_samples(images[3], np.zeros((6, 7), np.int16))
    return images, errors.MixedSizes, [images[3]]


def _other_size_at_the_end() -> Refused:
    images = series(along(AXIAL, EVEN))
    for image in images[5:]:
        with_samples(image, np.zeros((24, 30), np.int16))
    return images, errors.MixedSizes, images[5:]


def _other_spacing() -> Refused:
    images = series(along(AXIAL, EVEN))
    images[2].PixelSpacing = [1.0, 1.0]
    return images, errors.MixedSizes, [images[2]]


def _localizers() -> Refused:
    images = series(along(AXIAL, EVEN), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    return images, errors.Localizers, images


def _single_image() -> Refused:
    images = series(along(AXIAL, [0.0]))
    return images, errors.SingleImage, images


def _single_radiograph() -> Refused:
    images = [without(ct_slice((0, 0, 0)), "ImagePositionPatient", "ImageOrientationPatient")]
    return images, errors.SingleImage, images


def _single_frame() -> Refused:
    images = [enhanced(along(AXIAL, [0.0]))]
    return images, errors.SingleImage, images


def _no_two_parallel() -> Refused:
    images = [ct_slice((0, 0, 0), orientation) for orientation in (AXIAL, SAGITTAL, OBLIQUE)]
    images[1].ImagePositionPatient = [1, 2, 3]
    return images, errors.SingleImage, images


def _all_in_one_place() -> Refused:
    images = series(along(AXIAL, [0.0, 0.0, 0.0]))
    for number, image in enumerate(images):
        image.AcquisitionNumber = number
        image.PixelData = bytes([number]) + image.PixelData[1:]
    return images, errors.SamePlaceTwice, images


def _two_in_one_place() -> Refused:
    images = series(along(AXIAL, EVEN))
    other = ct_slice(images[2].ImagePositionPatient, InstanceNumber=3, FrameOfReferenceUID="1.2.3")
    other.PixelData = bytes(len(other.PixelData))
    return [*images, other], errors.SamePlaceTwice, [images[2], other]


def _one_without_position() -> Refused:
    images = series(along(AXIAL, EVEN))
    without(images[4], "ImagePositionPatient")
    return images, errors.NoPosition, [images[4]]


def _none_with_orientation() -> Refused:
    images = [without(image, "ImageOrientationPatient") for image in series(along(AXIAL, EVEN))]
    return images, errors.NoPosition, []


def _no_pixel_spacing() -> Refused:
    images = [without(image, "PixelSpacing") for image in series(along(AXIAL, EVEN))]
    return images, errors.NoPosition, []


def _ultrasound() -> Refused:
    image = without(enhanced(along(AXIAL, EVEN)), "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    return [image], errors.NoPosition, [image]


def _directions_not_perpendicular() -> Refused:
    images = series(along(AXIAL, EVEN))
    images[1].ImageOrientationPatient = [1, 0, 0, 0.5, 0.8, 0]
    return images, errors.NoPosition, [images[1]]


def _shifted_sideways() -> Refused:
    images = series([[0.0, 3.0 * (number == 3), 2.0 * number] for number in range(7)])
    return images, errors.SlicesOutOfLine, [images[3]]


def _color() -> Refused:
    images = series(along(AXIAL, EVEN))
    for image in images:
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    return images, errors.UnsuitablePixels, []


def _mosaics() -> Refused:
    images = series(along(AXIAL, EVEN), ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    return images, errors.UnsuitablePixels, []


def _said_as(image: Dataset, keyword: str, text: str) -> Dataset:
    """Give an image a number as no number is written; the wrong representation keeps pydicom from refusing it."""
    image.add_new(keyword, "LO", text)
    return image


def _intercept_with_a_comma() -> Refused:
    images = [_said_as(image, "RescaleIntercept", "-1024,0") for image in series(along(AXIAL, EVEN))]
    return images, errors.UnsuitablePixels, []


def _slope_of_one_no_number() -> Refused:
    images = series(along(AXIAL, EVEN))
    _said_as(images[4], "RescaleSlope", "n/a")
    return images, errors.UnsuitablePixels, [images[4]]


def _intercept_of_some() -> Refused:
    images = series(along(AXIAL, EVEN), RescaleIntercept=-1024)
    without(images[2], "RescaleIntercept", "RescaleSlope")
    return images, errors.UnsuitablePixels, [images[2]]


def _spacing_with_commas() -> Refused:
    images = series(along(AXIAL, EVEN))
    _said_as(images[1], "PixelSpacing", "0,7\\0,7")
    return images, errors.NoPosition, [images[1]]


def _spacing_at_the_detector_alone() -> Refused:
    images = [without(image, "PixelSpacing") for image in series(along(AXIAL, EVEN), ImagerPixelSpacing=[0.2, 0.2])]
    return images, errors.NoPosition, []


def _frame_of_reference_of_each() -> Refused:
    images = series(along(AXIAL, EVEN))
    for image in images:
        image.FrameOfReferenceUID = generate_uid()
    return images, errors.SingleImage, images


def _frame_without_position() -> Refused:
    image = enhanced(along(AXIAL, EVEN))
    without(image.PerFrameFunctionalGroupsSequence[3], "PlanePositionSequence")
    return [image], errors.NoPosition, [image]


def _frames_without_spacing() -> Refused:
    image = enhanced(along(AXIAL, EVEN))
    without(image.SharedFunctionalGroupsSequence[0], "PixelMeasuresSequence")
    return [image], errors.NoPosition, [image]


def _more_frames_than_described() -> Refused:
    image = enhanced(along(AXIAL, EVEN))
    image.PerFrameFunctionalGroupsSequence = image.PerFrameFunctionalGroupsSequence[:4]
    return [image], errors.UnreadableInstance, [image]


def _fewer_frames_than_described() -> Refused:
    image = enhanced(along(AXIAL, EVEN))
    image.NumberOfFrames = 5
    return [image], errors.UnreadableInstance, [image]


def _emission_tomography() -> Refused:
    image = without(enhanced(along(AXIAL, EVEN)), "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
    image.SOPClassUID, image.SpacingBetweenSlices, image.SliceVector = NuclearMedicineImageStorage, 2.0, [1, 2, 3]
    return [image], errors.NoPosition, [image]


def _twelve_bits_packed() -> Refused:
    images = series(along(AXIAL, EVEN), BitsAllocated=12, BitsStored=12, HighBit=11)
    return images, errors.UnsuitablePixels, []


def _colors_of_a_palette() -> Refused:
    images = series(along(AXIAL, EVEN), PhotometricInterpretation="PALETTE COLOR")
    return images, errors.UnsuitablePixels, []


def _another_region_without_a_number() -> Refused:
    images = series(along(AXIAL, [*EVEN, 60.0, 62.0, 64.0]))
    return images, errors.MissingSlice, images[6:8]


def _no_images() -> Refused:
    images = [without(image, "PixelData") for image in series(along(AXIAL, EVEN))]
    return images, errors.NoImages, []


def _pixels_cut() -> Refused:
    images = series(along(AXIAL, EVEN))
    images[5].PixelData = images[5].PixelData[:-40]
    return images, errors.TruncatedInstance, [images[5]]


def _damaged_stream() -> Refused:
    images = [in_syntax(image, JPEGLSLossless) for image in series(along(AXIAL, EVEN))]
    stream = bytearray(images[4].PixelData)
    stream[len(stream) // 3 :: 3] = bytes(len(stream[len(stream) // 3 :: 3]))
    images[4].PixelData = bytes(stream[:40]) + bytes(len(stream) - 48) + bytes(stream[-8:])
    return images, errors.MeshError, [images[4]]


def _unknown_syntax() -> Refused:
    images = [in_syntax(image, JPEGLSLossless) for image in series(along(AXIAL, EVEN))]
    for image in images:
        image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    return images, errors.UndecodableInstance, []


REFUSED: dict[str, Callable[[], Refused]] = {
    make.__name__.strip("_"): make
    for make in (
        *(_missing_slice, _missing_slice_renumbered, _missing_block, _missing_last_but_one, _missing_many),
        *(_missing_frame, _other_size_between, _other_size_at_the_end, _other_spacing, _localizers, _single_image),
        *(
            _single_radiograph,
            _single_frame,
            _no_two_parallel,
            _all_in_one_place,
            _two_in_one_place,
            _one_without_position,
        ),
        *(_none_with_orientation, _no_pixel_spacing, _ultrasound, _directions_not_perpendicular, _shifted_sideways),
        *(_color, _mosaics, _no_images, _pixels_cut, _damaged_stream, _unknown_syntax),
        *(_intercept_with_a_comma, _slope_of_one_no_number, _intercept_of_some, _spacing_with_commas),
        *(_spacing_at_the_detector_alone, _frame_of_reference_of_each, _frame_without_position),
        *(_frames_without_spacing, _more_frames_than_described, _fewer_frames_than_described, _emission_tomography),
        *(_twelve_bits_packed, _colors_of_a_palette, _another_region_without_a_number),
    )
}


@pytest.mark.parametrize("name", REFUSED)
def test_series_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """What is no volume is refused with its kind, the message names the instance at fault and what to do."""
    images, kind, at_fault = REFUSED[name]()
    with pytest.raises(kind) as refusal:
        read_series(written(images, tmp_path))
    assert 400 <= refusal.value.status < 500
    assert refusal.value.remedy
    for image in at_fault[:1] if len(at_fault) > 2 else at_fault:
        assert image.SOPInstanceUID in refusal.value.sop_instance_uids
    assert any(uid in str(refusal.value) for uid in refusal.value.sop_instance_uids or [""])


@pytest.mark.parametrize("name", [name for name in REFUSED if name not in ("damaged_stream", "unknown_syntax")])
def test_estimate_refuses_what_headers_tell(tmp_path: Path, name: str) -> None:
    """A job that can't succeed is refused before it starts, unless only decoding tells."""
    images, kind, _ = REFUSED[name]()
    with pytest.raises(kind):
        estimate(written(images, tmp_path))


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("is_compressed", [False, True], ids=["native", "JPEG-LS"])
def test_file_cut_short_is_refused(tmp_path: Path, share: float, is_compressed: bool) -> None:  # noqa: FBT001
    """A file that ends anywhere before its pixels do is refused, never left out."""
    images = series(along(AXIAL, EVEN))
    files = written([in_syntax(image, JPEGLSLossless) if is_compressed else image for image in images], tmp_path)
    content = files[3].path.read_bytes()
    files[3].path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises((errors.TruncatedInstance, errors.UnreadableInstance)):
        read_series(files)


@pytest.mark.parametrize(
    "syntax",
    [JPEGLosslessSV1, JPEGLossless, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless, JPEGExtended12Bit, RLELossless],
)
@pytest.mark.parametrize("filled", [0, 1], ids=["short", "filled"])
def test_stream_cut_short_is_refused(tmp_path: Path, syntax: UID, filled: int) -> None:
    """A compressed stream that was cut within a whole file is refused: decoders fill what is missing with gray."""
    samples = np.random.default_rng(1).integers(0, 4095, (3, 64, 64)).astype(np.uint16)
    stack = zip(series(along(AXIAL, EVEN[:3])), samples, strict=True)
    images = [in_syntax(with_samples(image, layer, 12), syntax) for image, layer in stack]
    stream = next(generate_frames(images[1].PixelData, number_of_frames=1))
    cut = stream[: len(stream) * 9 // 10] + bytes(filled * (len(stream) // 10))
    images[1].PixelData = encapsulate([cut])
    images[1]["PixelData"].is_undefined_length = True
    with pytest.raises((errors.TruncatedInstance, errors.UndecodableInstance)) as refusal:
        read_series(written(images, tmp_path))
    assert refusal.value.sop_instance_uids == (images[1].SOPInstanceUID,)


@pytest.mark.parametrize("is_enhanced", [False, True], ids=["slices", "frames"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_damaged_header_is_refused_or_harmless(tmp_path: Path, syntax: UID, is_enhanced: bool) -> None:  # noqa: FBT001
    """Bytes that are changed, lost or too many anywhere raise nothing but a refusal."""
    positions = along(AXIAL, EVEN[:3])
    images = [enhanced(positions)] if is_enhanced else series(positions)
    files = written([in_syntax(image, syntax) for image in images], tmp_path)
    whole, chance = files[0].path.read_bytes(), random.Random(11)
    for _ in range(100):
        place, count = chance.randrange(132, len(whole)), chance.choice([0, 1, 4])
        files[0].path.write_bytes(whole[:place] + chance.randbytes(chance.choice([0, 1, 4])) + whole[place + count :])
        with contextlib.suppress(MeshError):
            read_series(files)


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A file that is no DICOM file is refused, and so is one that is not there."""
    files = written(series(along(AXIAL, EVEN)), tmp_path)
    (tmp_path / "letter.txt").write_text("not an image " * 100)
    for name in ("letter.txt", "nowhere.dcm"):
        with pytest.raises(errors.UnreadableInstance):
            read_series([*files, InstanceFile(tmp_path / name)])


def test_reading_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    """Whoever cancels does not wait until all is read."""
    files = written(series(along(AXIAL, EVEN)), tmp_path)
    asked = iter([False] * (len(EVEN) + 2) + [True] * 100)
    told: list[float] = []
    with pytest.raises(MeshCancelled):
        read_series(files, cancelled=lambda: next(asked), progress=told.append)
    assert len(told) < len(EVEN)


def test_no_message_names_the_patient(tmp_path: Path) -> None:
    """Refusals name instances, never the patient."""
    for name, make in REFUSED.items():
        images, _, _ = make()
        for image in images:
            image.PatientName, image.PatientID = "SECRETO^Paciente", "GEHEIM-1"
        with pytest.raises(MeshError) as refusal:
            read_series(written(images, tmp_path / name))
        assert "SECRETO" not in str(refusal.value)
        assert "GEHEIM" not in str(refusal.value)


def test_other_images_of_the_series_are_left_out(tmp_path: Path) -> None:
    """Localizers, secondary captures, color and documents don't stop the slices from being read."""
    images = series(along(AXIAL, EVEN))
    scout = ct_slice((0, 0, 0), SAGITTAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], FrameOfReferenceUID="1.2.3")
    page = without(ct_slice((0, 0, 0), SOPClassUID=SecondaryCaptureImageStorage), "ImagePositionPatient")
    picture = ct_slice((0, 0, 0), SamplesPerPixel=3, PhotometricInterpretation="RGB", SOPClassUID=generate_uid())
    report = without(ct_slice((0, 0, 0), Modality="SR"), "PixelData", "Rows", "Columns")
    volume = read_series(written([*images, scout, page, picture, report], tmp_path))
    assert volume.voxels.shape[0] == len(EVEN) + 2
    assert {warning.code: warning.values for warning in volume.warnings}["images_left_out"] == {"count": 3}
