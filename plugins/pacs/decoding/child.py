"""What runs in the child: files in, files out, nothing kept. Raises whatever the decoder finds; the process may die."""

from __future__ import annotations

import logging
from pathlib import Path

import pydicom
from PIL import Image
from pydicom import config
from pydicom.pixels.utils import pixel_array

from pacs.decoding.windowing import as_bytes
from pacs.ports import Json
from pacs.processes import Progress

# One decoder for all of them: Pillow, which pydicom would try first, knows no HTJ2K and not all of 16 bits.
_DECODER = "pylibjpeg"
# A value that breaks a rule of DICOM is passed on as it came: it is the modality's, not ours to correct.
config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
# What it says of a damaged image is in the exception; its log repeats it with a traceback for each.
logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False


def transcode(arguments: dict[str, Json], _progress: Progress) -> None:
    """Write the instance `source` uncompressed to `target`, in the transfer syntax `syntax`, with the same identity.

    YBR_ICT and YBR_RCT become RGB, for they are defined by the compression (PS3.3 C.7.6.3.1.2).
    """
    dataset = pydicom.dcmread(arguments["source"])
    dataset.decompress(decoding_plugin=_DECODER, generate_instance_uid=False)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(arguments["syntax"])
    dataset.save_as(
        arguments["target"], implicit_vr=dataset.file_meta.TransferSyntaxUID.is_implicit_VR, little_endian=True
    )


def frames(arguments: dict[str, Json], _progress: Progress) -> None:
    """Write the samples of the frames `numbers` (from 0), little endian, to files of these names in `target`."""
    source = Path(arguments["source"])
    for number in arguments["numbers"]:
        samples = pixel_array(source, index=number, decoding_plugin=_DECODER)
        (Path(arguments["target"]) / str(number)).write_bytes(samples.tobytes())


def render(arguments: dict[str, Json], _progress: Progress) -> None:
    """Write a PNG of the middle frame of `source` to `target`, no side longer than `size` pixels."""
    dataset = pydicom.dcmread(arguments["source"], stop_before_pixels=True)
    frame = int(dataset.get("NumberOfFrames") or 1) // 2
    samples = pixel_array(arguments["source"], index=frame, decoding_plugin=_DECODER)
    picture = Image.fromarray(as_bytes(samples, dataset, frame))
    picture.thumbnail((arguments["size"], arguments["size"]))
    picture.save(arguments["target"], "PNG")
