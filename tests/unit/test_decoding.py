"""JPEG 2000 and HTJ2K are decoded sample by sample as they were encoded, and what can't be decoded harms nobody."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from fixtures.fictitious_studies import as_file, dicom_image
from fixtures.malformed_images import malformed_images
from fixtures.sample_images import image_in
from fixtures.transfer_syntaxes import in_syntax
from pacs.decoding.decoder import Decoder
from pacs.decoding.settings import DecodingSettings
from pacs.decoding.syntaxes import transfer_syntax_of
from pacs.errors import ProcessError
from pacs.metrics import Metrics
from pacs.processes import ProcessTimeout

PLUGINS = Path(__file__).parents[2] / "plugins"
DAMAGES = ("giant rows", "more rows", "half the stream", "noise", "no fragment", "damaged stream 3")
UNCOMPRESSED = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoder]:
    """Return a decoder with children of its own."""
    made = Decoder(DecodingSettings(), Path(sys.executable), tmp_path_factory.mktemp("decoding"), Metrics("1"))
    yield made
    made.stop(5)


def gray(bits: int, *, signed: bool = False, frames: int = 1, **attributes: object) -> Dataset:
    """Return an image of noise that uses all of its bits."""
    image = dicom_image(**attributes)
    allocated = 8 if bits <= 8 else 16
    lowest = -(2 ** (bits - 1)) if signed else 0
    samples = np.random.default_rng(bits).integers(lowest, lowest + 2**bits, (frames, 64, 64))
    samples[:, 0, :2] = lowest, lowest + 2**bits - 1
    image.BitsAllocated, image.BitsStored, image.HighBit = allocated, bits, bits - 1
    image.PixelRepresentation = int(signed)
    if frames > 1:
        image.NumberOfFrames = frames
    image.PixelData = samples.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes()
    image["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return image


def color() -> Dataset:
    """Return a colored image."""
    image = gray(8)
    samples = np.random.default_rng(3).integers(0, 256, (64, 64, 3))
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.PixelData = samples.astype("u1").tobytes()
    return image


def shown(png: bytes) -> np.ndarray:
    """Return the samples of a picture."""
    return np.asarray(Image.open(BytesIO(png)))


KINDS = {
    "8 bits": lambda: gray(8),
    "12 bits": lambda: gray(12),
    "16 bits": lambda: gray(16),
    "12 bits signed": lambda: gray(12, signed=True),
    "16 bits signed": lambda: gray(16, signed=True),
    "3 frames": lambda: gray(12, frames=3),
    "color": color,
}


@pytest.mark.parametrize("target", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda uid: uid.name)
@pytest.mark.parametrize("kind", KINDS)
def test_transcoding_keeps_every_sample_when_jpeg_2000_is_lossless(decoder: Decoder, kind: str, target: UID) -> None:
    """What a station gets that takes no JPEG 2000 is the image before it was compressed, with its identity."""
    original = KINDS[kind]()
    result = decoder.transcode(memoryview(as_file(in_syntax(original, JPEG2000Lossless))), frozenset({target}))
    assert result is not None
    decoded = dcmread(BytesIO(result))
    assert decoded.file_meta.TransferSyntaxUID == target
    assert decoded.SOPInstanceUID == decoded.file_meta.MediaStorageSOPInstanceUID == original.SOPInstanceUID
    assert decoded.PixelData == original.PixelData
    assert decoded.PatientName == original.PatientName


def test_color_of_ybr_rct_comes_as_rgb(decoder: Decoder) -> None:
    """The color transformation belongs to the compression and goes with it."""
    original = color()
    compressed = in_syntax(original, JPEG2000Lossless)
    compressed.PhotometricInterpretation = "YBR_RCT"
    compressed.PixelData = _with_color_transformation(original)
    result = decoder.transcode(as_file(compressed), UNCOMPRESSED)
    assert result is not None
    decoded = dcmread(BytesIO(result))
    assert decoded.PhotometricInterpretation == "RGB"
    assert decoded.PixelData == original.PixelData


def _with_color_transformation(image: Dataset) -> bytes:
    copy = in_syntax(image, ExplicitVRLittleEndian)
    copy.PhotometricInterpretation = "YBR_RCT"
    copy.compress(JPEG2000Lossless, arr=image.pixel_array, generate_instance_uid=False, use_mct=True)
    return bytes(copy.PixelData)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_transcoding_keeps_every_sample_of_htj2k(decoder: Decoder, bits: int) -> None:
    """High-throughput JPEG 2000 as another encoder than ours wrote it."""
    original = gray(bits)
    result = decoder.transcode(as_file(in_syntax(original, HTJ2KLossless)), UNCOMPRESSED)
    assert result is not None
    assert dcmread(BytesIO(result)).PixelData == original.PixelData


@pytest.mark.parametrize(
    ("syntax", "allowed"),
    [
        (JPEG2000Lossless, {JPEGBaseline8Bit}),
        (JPEG2000Lossless, set()),
        (RLELossless, UNCOMPRESSED),
        (ExplicitVRLittleEndian, {JPEG2000Lossless}),
    ],
)
def test_transcoding_is_left_to_orthanc_when_it_is_its_own_work(
    decoder: Decoder, syntax: UID, allowed: set[UID]
) -> None:
    """Other syntaxes and other targets are not touched."""
    assert decoder.transcode(as_file(image_in(syntax, "D-1")), frozenset(allowed)) is None


@pytest.mark.parametrize("data", [b"", b"DICM", bytes(200), bytes(128) + b"DICM\x02\x00\x10\x00UI", b"\xff" * 5000])
def test_transfer_syntax_is_empty_when_a_file_names_none(data: bytes) -> None:
    """Whatever it is, it is not ours."""
    assert transfer_syntax_of(data) == ""


def test_frames_are_those_asked_for(decoder: Decoder) -> None:
    """Single frames of many, in the order asked for, as Explicit VR Little Endian has them."""
    original = gray(12, signed=True, frames=3)
    size = len(original.PixelData) // 3
    first, second, third = (original.PixelData[start : start + size] for start in (0, size, 2 * size))
    assert decoder.frames(as_file(in_syntax(original, JPEG2000Lossless)), [2, 0]) == [third, first]
    assert decoder.frames(as_file(in_syntax(original, JPEG2000Lossless)), [1]) == [second]


def test_thumbnail_shows_the_window_of_the_file(decoder: Decoder) -> None:
    """Values below the window are black, above it white, in between in proportion, after the rescale."""
    image = gray(12, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0.5, WindowWidth=501)
    samples = np.zeros((64, 64), "<u2")
    samples[:, 16:32], samples[:, 32:48], samples[:, 48:] = 300, 500, 4000
    image.PixelData = samples.tobytes()
    picture = shown(decoder.thumbnail(as_file(in_syntax(image, JPEG2000Lossless)), 256))
    assert picture.shape == (64, 64)
    assert picture[0, ::16].tolist() == [0, 0, 127, 255]


def test_thumbnail_is_inverted_when_low_values_are_white(decoder: Decoder) -> None:
    """MONOCHROME1, of radiographs."""
    image = gray(12, WindowCenter=2048, WindowWidth=4096)
    image.PhotometricInterpretation = "MONOCHROME1"
    picture = shown(decoder.thumbnail(as_file(in_syntax(image, JPEG2000Lossless)), 256))
    assert picture[0, :2].tolist() == [255, 0]


def test_thumbnail_uses_the_window_of_the_frame_when_it_has_its_own(decoder: Decoder) -> None:
    """Enhanced multi-frame images keep window and rescale in functional groups."""
    image = gray(12, frames=3)
    samples = np.full((3, 64, 64), 1000, "<u2")
    samples[1, :, 32:] = 3000
    image.PixelData = samples.tobytes()
    window, groups = Dataset(), Dataset()
    window.WindowCenter, window.WindowWidth = 2000, 1000
    groups.FrameVOILUTSequence = Sequence([window])
    image.PerFrameFunctionalGroupsSequence = Sequence([Dataset(), groups, Dataset()])
    picture = shown(decoder.thumbnail(as_file(in_syntax(image, JPEG2000Lossless)), 256))
    assert picture[0, ::32].tolist() == [0, 255]


def test_thumbnail_of_color_is_colored_and_small(decoder: Decoder) -> None:
    """Three samples a pixel, no side longer than asked for."""
    picture = shown(decoder.thumbnail(as_file(in_syntax(color(), JPEG2000Lossless)), 32))
    assert picture.shape == (32, 32, 3)
    whole = shown(decoder.thumbnail(as_file(in_syntax(color(), JPEG2000Lossless)), 256))
    assert np.array_equal(whole, color().pixel_array)


def test_malformed_image_is_an_error_and_the_next_one_is_decoded(decoder: Decoder) -> None:
    """A codec that fails or dies takes one image with it; nothing of it stays on the disk."""
    outcomes = set()
    for kind, data in malformed_images():
        if kind.removeprefix(f"{JPEG2000Lossless.name}: ") in DAMAGES:
            try:
                decoder.thumbnail(data, 64)
            except ProcessError as error:
                outcomes.add(error.code)
    assert outcomes >= {"process-failed"}
    assert decoder.transcode(as_file(in_syntax(gray(8), JPEG2000Lossless)), UNCOMPRESSED) is not None
    assert list(decoder._passing.folder.iterdir()) == []


def test_broken_image_costs_one_child_when_it_is_asked_for_again(decoder: Decoder) -> None:
    """A page that asks for it in many ways gets the same refusal at once; asked for something else it is tried."""
    damaged = next(data for kind, data in malformed_images() if kind == f"{JPEG2000Lossless.name}: damaged stream 7")
    refusals = []
    for _ in range(2):
        with pytest.raises(ProcessError) as refusal:
            decoder.transcode(damaged, UNCOMPRESSED)
        refusals.append(refusal.value)
    assert refusals[0] is refusals[1]
    with pytest.raises(ProcessError) as other:
        decoder.thumbnail(damaged, 64)
    assert other.value is not refusals[0]


def test_hung_child_is_a_timeout_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    """Whatever becomes of the children, the caller gets an answer within the time set."""
    settings = DecodingSettings.model_validate({"Processes": 1})
    decoder = Decoder(settings, Path(sys.executable), tmp_path, Metrics("1"))
    image = as_file(in_syntax(gray(8), JPEG2000Lossless))
    assert decoder.transcode(image, UNCOMPRESSED)
    (child,) = decoder.pool._idle
    os.kill(child.pid, signal.SIGKILL)
    assert decoder.transcode(image, UNCOMPRESSED)
    (child,) = decoder.pool._idle
    os.kill(child.pid, signal.SIGSTOP)
    # Only now: the start of a child may take as long on a busy machine.
    decoder._seconds = 5
    with pytest.raises(ProcessTimeout):
        decoder.transcode(image, UNCOMPRESSED)
    decoder.stop(5)


def test_waiting_ends_when_the_decoder_is_stopped(tmp_path: Path) -> None:
    """Whoever comes at the end is refused at once."""
    decoder = Decoder(DecodingSettings(), Path(sys.executable), tmp_path, Metrics("1"))
    decoder.stop(1)
    with pytest.raises(ProcessError):
        decoder.thumbnail(as_file(in_syntax(gray(8), JPEG2000Lossless)), 64)


def test_transcoder_is_not_registered_where_there_is_no_orthanc() -> None:
    """Elsewhere nothing is called and the caller is told."""
    program = "from pacs.native.transcoder import *\nprint(register_transcoder(lambda *_: None))"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(PLUGINS)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize(("answer", "code"), [(b"other form", 0), (None, 2), (ValueError("no"), 1)])
def test_transcoder_callback_hands_over_what_orthanc_frees(answer: bytes | Exception | None, code: int) -> None:
    """Memory of malloc with the result; a code for every refusal, and never an exception."""
    from pacs.native import transcoder  # noqa: PLC0415 - looks up malloc when imported

    asked = []

    def transcode(dicom: memoryview, syntaxes: frozenset[str]) -> bytes | None:
        asked.append((bytes(dicom), syntaxes))
        if isinstance(answer, Exception):
            raise answer
        return answer

    target, dicom = transcoder._Buffer(), b"some DICOM"
    syntaxes = (ctypes.c_char_p * 2)(b"1.2", b"1.2.1")
    callback = transcoder._CALLBACK(transcoder._answering(transcode))
    source = ctypes.cast(dicom, ctypes.c_void_p)
    assert callback(ctypes.byref(target), source, len(dicom), syntaxes, 2, 0) == code
    assert asked == [(dicom, frozenset({"1.2", "1.2.1"}))]
    if code == 0:
        assert ctypes.string_at(target.data, target.size) == answer
        ctypes.CDLL(None).free(ctypes.c_void_p(target.data))
    else:
        assert target.data is None
