"""Burned-in text is blanked where a mask says so and nowhere else; images without the mask they need are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from fixtures.deidentification import SECRET, as_file, instance, project, read_again, treated
from fixtures.transfer_syntaxes import in_syntax
from pacs.deidentify import Refused, deidentify, deidentify_file
from pacs.deidentify.masks import Mask, Rectangle
from pacs.deidentify.options import Clean
from pacs.demo.syntaxes import transcoded

SIZE = 64
RECTANGLE = Rectangle(3, 5, 41, 19)
BORDER = Rectangle(50, 0, 900, 4)
MASK = Mask("header", {"Rows": "64", "Columns": "64"}, (RECTANGLE, BORDER))
NOISE = np.random.default_rng(7)
LOSSLESS = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    RLELossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
)


def _inside() -> NDArray[np.bool_]:
    inside = np.zeros((SIZE, SIZE), bool)
    inside[5:19, 3:41] = inside[0:4, 50:64] = True
    return inside


def _image(*, frames: int = 1, samples: int = 1, bits: int = 8, signed: bool = False, **values: Any) -> Dataset:
    dataset = instance(Rows=SIZE, Columns=SIZE, SamplesPerPixel=samples, BitsAllocated=8 * (bits > 8) + 8, **values)
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
    dataset.PhotometricInterpretation = values.get("PhotometricInterpretation", "RGB" if samples > 1 else "MONOCHROME2")
    shape = (frames, SIZE, SIZE) if samples == 1 else (frames, SIZE, SIZE, samples)
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    pixels = NOISE.integers(low, high, shape).astype(("i" if signed else "u") + str(dataset.BitsAllocated // 8))
    if samples > 1:
        dataset.PlanarConfiguration = 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    return dataset


def _masked(dataset: Dataset, *masks: Mask) -> Dataset:
    return treated(dataset, Clean.PIXELS, masks=masks or (MASK,))


def _as_rgb(dataset: Dataset) -> NDArray[Any]:
    # pydicom makes RGB of YBR.
    return dataset.pixel_array


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(
    "made",
    [
        {},
        {"bits": 12},
        {"bits": 16},
        {"bits": 12, "signed": True},
        {"bits": 16, "signed": True},
        {"samples": 3},
    ],
    ids=str,
)
def test_mask_blanks_its_rectangles_alone(syntax: UID, made: dict[str, Any]) -> None:
    """Within the rectangles every pixel is one and the same, without them every pixel is as it was, in every syntax."""
    original = _image(**made)
    try:
        given = in_syntax(original, syntax)
    except (ValueError, RuntimeError, NotImplementedError) as fault:
        pytest.skip(f"no encoder for this here: {fault}")
    result = _masked(given)
    pixels, inside = _as_rgb(result), _inside()
    assert np.array_equal(pixels[~inside], original.pixel_array[~inside])
    assert len(np.unique(pixels[inside].reshape(-1, original.SamplesPerPixel), axis=0)) == 1
    assert result.BurnedInAnnotation == "NO"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("samples", [1, 3])
def test_mask_is_laid_on_every_frame(syntax: UID, samples: int) -> None:
    """Of a cine loop no frame shows what the mask covers, and all else of each stays."""
    original = _image(frames=5, samples=samples)
    result = _masked(in_syntax(original, syntax))
    inside = _inside()
    for number in range(5):
        assert np.array_equal(_as_rgb(result)[number][~inside], original.pixel_array[number][~inside])
        assert not _as_rgb(result)[number][inside].any()


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000])
@pytest.mark.parametrize("samples", [1, 3])
def test_lossy_image_loses_nothing_more(syntax: UID, samples: int) -> None:
    """What a lossy image shows outside of the rectangles is shown as before: it is not compressed with loss again."""
    original = _smooth(samples)
    given = in_syntax(original, syntax) if syntax == JPEGBaseline8Bit else _in_lossy_2000(original)
    result = _masked(given)
    inside = _inside()
    difference = np.abs(_as_rgb(result).astype(int) - _as_rgb(read_again(given)).astype(int))
    assert difference[~inside].max() <= 3  # rounding of colors, twice
    assert not _as_rgb(result)[inside].any()
    assert result.file_meta.TransferSyntaxUID == JPEG2000Lossless
    assert result.get("LossyImageCompression", "01") == "01"


def _smooth(samples: int) -> Dataset:
    dataset = _image(samples=samples)
    ramp = np.add.outer(np.arange(SIZE), 2 * np.arange(SIZE)).astype(np.uint8) + 20
    dataset.PixelData = (ramp if samples == 1 else np.stack([ramp, ramp // 2, 220 - ramp], axis=2)).tobytes()
    return dataset


def _in_lossy_2000(dataset: Dataset) -> Dataset:
    result = transcoded(dataset, ExplicitVRLittleEndian)
    if dataset.SamplesPerPixel == 3:
        result.PhotometricInterpretation = "YBR_ICT"
    result.compress(JPEG2000, j2k_cr=[5], generate_instance_uid=False)
    return result


def test_black_of_inverted_and_signed_images_is_black() -> None:
    """MONOCHROME1 is blanked with its highest value, signed samples with their lowest: neither is a bright bar."""
    inverted = _masked(_image(PhotometricInterpretation="MONOCHROME1"))
    assert set(inverted.pixel_array[_inside()]) == {inverted.pixel_array.max()}
    signed = _masked(_image(bits=16, signed=True))
    assert set(signed.pixel_array[_inside()]) == {signed.pixel_array.min()}


def test_mask_blanks_chroma_of_uncompressed_ybr() -> None:
    """YBR_FULL is black where its chroma is neutral; planes of colors lie as they lay."""
    original = _image(samples=3, PhotometricInterpretation="YBR_FULL")
    stored = np.frombuffer(_masked(original).PixelData, np.uint8).reshape(SIZE, SIZE, 3)
    assert {tuple(pixel) for pixel in stored[_inside()].tolist()} == {(0, 128, 128)}
    planar = _image(samples=3)
    planes = np.moveaxis(planar.pixel_array, 2, 0)
    planar.PlanarConfiguration, planar.PixelData = 1, planes.tobytes()
    result = _masked(planar)
    assert not result.pixel_array[_inside()].any()
    assert np.array_equal(result.pixel_array[~_inside()], np.moveaxis(planes, 0, 2)[~_inside()])


def test_mask_blanks_subsampled_ybr() -> None:
    """YBR_FULL_422, two pixels in four bytes, is blanked for whole pairs."""
    original = _image(samples=3, PhotometricInterpretation="YBR_FULL_422")
    raw = NOISE.integers(0, 256, SIZE * SIZE * 2).astype(np.uint8)
    original.PixelData = raw.tobytes()
    result = np.frombuffer(_masked(original).PixelData, np.uint8).reshape(SIZE, SIZE // 2, 4)
    assert {tuple(pair) for pair in result[5:19, 1:21].reshape(-1, 4)} == {(0, 0, 128, 128)}
    assert np.array_equal(result[20:], raw.reshape(SIZE, SIZE // 2, 4)[20:])


def test_mask_blanks_images_of_single_bits() -> None:
    """One bit a pixel, eight in a byte, across rows and frames."""
    bits = NOISE.integers(0, 2, (3, SIZE, SIZE)).astype(np.uint8)
    original = _image(frames=3)
    original.BitsAllocated = original.BitsStored = 1
    original.HighBit = 0
    original.PixelData = np.packbits(bits, bitorder="little").tobytes()
    pixels = _masked(original).pixel_array
    assert not pixels[:, _inside()].any()
    assert np.array_equal(pixels[:, ~_inside()], bits[:, ~_inside()])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "says that it has"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "is of a kind that often has"),
        ({"SOPClassUID": UltrasoundMultiFrameImageStorage, "Modality": "US"}, "is of a kind that often has"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "is of a kind that often has"),
    ],
)
def test_image_that_needs_a_mask_is_refused_without(values: dict[str, Any], reason: str) -> None:
    """Burned-in text that is declared or likely is refused where no mask fits, with and without Clean Pixel Data."""
    other = Mask("other", {"Rows": "512", "Columns": "512"}, (RECTANGLE,))
    for made in (project(), project(Clean.PIXELS), project(Clean.PIXELS, masks=(other,))):
        with pytest.raises(Refused, match=f"{reason} text burned into its pixels.*add a mask"):
            deidentify(read_again(_image(**values)), made, SECRET)


def test_device_that_burns_nothing_in_is_let_through_by_its_mask() -> None:
    """`blank: nothing` says that a person has looked: nothing is blanked, and the image is told to be clean."""
    original = _image(SOPClassUID=SecondaryCaptureImageStorage, StationName="PACS-1")
    looked_at = Mask("looked at", {"Rows": "*", "Columns": "*", "StationName": "pacs-?"}, ())
    result = _masked(original, looked_at)
    assert np.array_equal(result.pixel_array, original.pixel_array)
    assert result.BurnedInAnnotation == "NO"


def test_image_is_not_told_to_be_clean_when_nobody_looked() -> None:
    """With `unmasked: declared` a risky image passes, but neither code nor BurnedInAnnotation says that it is clean."""
    result = treated(_image(SOPClassUID=SecondaryCaptureImageStorage), Clean.PIXELS, unmasked="declared")
    assert "BurnedInAnnotation" not in result
    assert "113101" not in {code.CodeValue for code in result.DeidentificationMethodCodeSequence}


def test_masks_of_a_device_are_laid_together() -> None:
    """Where two masks fit, what either blanks is blanked."""
    other = Mask("foot", {"Rows": "64", "Columns": "64"}, (Rectangle(0, 60, 64, 64),))
    pixels = _masked(_image(), MASK, other).pixel_array
    assert not pixels[60:].any()
    assert not pixels[_inside()].any()


def test_video_under_a_mask_is_refused() -> None:
    """A video can't be blanked without loss, and is not let through as it is."""
    dataset = _image(frames=2)
    dataset.PixelData = encapsulate([b"\x00\x00\x01\xba video."])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    with pytest.raises(Refused, match="video"):
        deidentify(dataset, project(Clean.PIXELS, masks=(MASK,)), SECRET)


def test_pixels_that_are_cut_are_refused() -> None:
    """Pixels of which a part is missing are no image: nothing is guessed of where its rows are."""
    dataset = _image()
    dataset.PixelData = dataset.PixelData[:-100]
    with pytest.raises(Refused, match="not what the instance says"):
        deidentify(dataset, project(), SECRET)


def test_overlay_in_the_bits_above_the_pixels_goes() -> None:
    """Bits above the stored ones, where overlays of older devices lie, are cleared; the image stays."""
    original = _image(bits=12)
    pixels = np.frombuffer(original.PixelData, "<u2").reshape(SIZE, SIZE)
    original.PixelData = (pixels | np.uint16(0x1000) * (_inside().astype(np.uint16))).tobytes()
    original.add_new(0x60000010, "US", SIZE)
    original.add_new(0x60000102, "US", 12)
    result = treated(original)
    assert np.array_equal(np.frombuffer(result.PixelData, "<u2").reshape(SIZE, SIZE), pixels)
    assert not [element for element in result if element.tag.group == 0x6000]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_file_holds_the_pixels_that_it_held(tmp_path: Path, syntax: UID) -> None:
    """From file to file, pixels that nothing is to be done about are the same bytes, in the same transfer syntax."""
    given = in_syntax(_image(bits=12), syntax)
    (tmp_path / "in.dcm").write_bytes(as_file(given))
    target, result = deidentify_file(tmp_path / "in.dcm", tmp_path, project(), SECRET)
    written = dcmread(target)
    assert written.PixelData == dcmread(tmp_path / "in.dcm").PixelData
    assert written.file_meta.TransferSyntaxUID == syntax
    assert not [change for change in result.changes if change.place.startswith("7FE0")]


def test_bytes_behind_the_last_frame_go() -> None:
    """What is written behind the pixels is no part of the image."""
    dataset = _image()
    dataset.PixelData = dataset.PixelData + b"PATIENT DOE^JANE"
    result = treated(dataset)
    assert len(result.PixelData) == SIZE * SIZE


def test_picture_within_a_sequence_goes() -> None:
    """Thumbnails show what was burned in: pixels anywhere but at the top are removed."""
    item = _image()
    dataset = _image(IconImageSequence=[item], ReferencedSeriesSequence=[item])
    result = treated(dataset)
    assert "IconImageSequence" not in result
    assert "PixelData" not in result.ReferencedSeriesSequence[0]


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless])
def test_comments_in_compressed_streams_go(syntax: UID) -> None:
    """Comments, EXIF and what follows the end are cut out of a stream; its pixels stay to the bit."""
    given = in_syntax(_smooth(1), syntax)
    before = read_again(given).pixel_array
    (stream,) = generate_frames(given.PixelData, number_of_frames=1)
    end = stream.rindex(b"\xff\xd9") + 2
    marker = b"\xff\x64" if syntax == JPEG2000Lossless else b"\xff\xfe"
    place = _second_segment(stream) if syntax == JPEG2000Lossless else 2
    segment = marker + (18).to_bytes(2) + b"PATIENT DOE^JANE"
    exif = b"" if syntax == JPEG2000Lossless else b"\xff\xe1" + (18).to_bytes(2) + b"Exif DOE^JANE   "
    given.PixelData = encapsulate([stream[:place] + segment + exif + stream[place:end] + b"DOE^JANE\xff\xd9"])
    result = treated(given)
    assert b"DOE" in given.PixelData
    assert b"DOE" not in result.PixelData
    assert np.array_equal(result.pixel_array, before)


def _second_segment(stream: bytes) -> int:
    """Return where a JPEG 2000 stream's second marker segment begins: SIZ has to be the first."""
    return 4 + int.from_bytes(stream[4:6])
