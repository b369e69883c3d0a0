"""Small pictures of series, drawn by Orthanc or, of JPEG 2000, by us; a symbol for series that have no picture."""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import Any

from pacs.decoding.decoder import Decoder
from pacs.decoding.syntaxes import DECODED_SYNTAXES
from pacs.errors import ArchiveError, NotFound, ProcessError
from pacs.ports import Archive
from pacs.web.instances import transfer_syntax

WIDTH_PIXELS = 256
_ENCAPSULATED = "1.2.840.10008.5.1.4.1.1.104."
_VIDEO_SYNTAXES = "1.2.840.10008.1.2.4.10"  # MPEG-2, MPEG-4 and HEVC are .100 to .108 (DICOM PS3.6 table A-1)
# Drawing large images is the dearest thing the pages ask for: a few at a time, the others wait their turn.
_drawing = threading.BoundedSemaphore(3)


class SeriesKind(StrEnum):
    """What a series without a picture is."""

    DOCUMENT = "document"
    REPORT = "report"
    VIDEO = "video"
    SEGMENTATION = "segmentation"
    STRUCTURES = "structures"
    PLAN = "plan"
    MODEL = "model"
    PRESENTATION = "presentation"
    WAVEFORM = "waveform"
    OTHER = "other"


_KIND_OF_MODALITY = {
    "DOC": SeriesKind.DOCUMENT,
    "SR": SeriesKind.REPORT,
    "KO": SeriesKind.REPORT,
    "SEG": SeriesKind.SEGMENTATION,
    "RTSTRUCT": SeriesKind.STRUCTURES,
    "RTPLAN": SeriesKind.PLAN,
    "RTRECORD": SeriesKind.PLAN,
    "M3D": SeriesKind.MODEL,
    "PR": SeriesKind.PRESENTATION,
    "ECG": SeriesKind.WAVEFORM,
    "HD": SeriesKind.WAVEFORM,
    "EEG": SeriesKind.WAVEFORM,
}
_KIND_OF_SOP_CLASS = {
    f"{_ENCAPSULATED}1": SeriesKind.DOCUMENT,
    f"{_ENCAPSULATED}2": SeriesKind.DOCUMENT,
    f"{_ENCAPSULATED}3": SeriesKind.MODEL,
    f"{_ENCAPSULATED}4": SeriesKind.MODEL,
    f"{_ENCAPSULATED}5": SeriesKind.MODEL,
}


def picture_source(archive: Archive, orthanc_series_id: str) -> str | SeriesKind:
    """Return Orthanc's identifier of the middle instance of a series, or what the series is when it has no picture.

    Raises
    ------
    NotFound : there is no such series.
    """
    series = archive.get_json(f"/series/{orthanc_series_id}")
    instance_id = _middle_instance(archive, series)
    modality = series["MainDicomTags"].get("Modality", "")
    return _kind_without_picture(archive, modality, instance_id) or instance_id


def draw(archive: Archive, decoder: Decoder, orthanc_instance_id: str) -> bytes | None:
    """Return a PNG of an instance, None when it can't be drawn.

    The transfer syntax decides who draws: of what Orthanc can't decode we take one frame, where Orthanc would have us
    transcode all of them.
    """
    with _drawing:
        try:
            if transfer_syntax(archive, orthanc_instance_id) in DECODED_SYNTAXES:
                return decoder.thumbnail(archive.get_bytes(f"/instances/{orthanc_instance_id}/file"), WIDTH_PIXELS)
            size = f"width={WIDTH_PIXELS}&height={WIDTH_PIXELS}"
            return archive.get_bytes(f"/instances/{orthanc_instance_id}/rendered?{size}")
        except (ArchiveError, ProcessError):
            return None


def _middle_instance(archive: Archive, series: dict[str, Any]) -> str:
    """Return the instance in the middle of the stack, by place in space or number where Orthanc can tell."""
    instances: list[str] = series["Instances"]
    if len(instances) > 2:  # noqa: PLR2004
        try:
            slices = archive.get_json(f"/series/{series['ID']}/ordered-slices")["SlicesShort"]
            return str(slices[len(slices) // 2][0])
        except (ArchiveError, NotFound, LookupError):
            pass
    return instances[len(instances) // 2]


def _kind_without_picture(archive: Archive, modality: str, instance_id: str) -> SeriesKind | None:
    if modality in _KIND_OF_MODALITY:
        return _KIND_OF_MODALITY[modality]
    sop_class = archive.get_bytes(f"/instances/{instance_id}/metadata/SopClassUid").decode()
    if sop_class in _KIND_OF_SOP_CLASS:
        return _KIND_OF_SOP_CLASS[sop_class]
    is_video = transfer_syntax(archive, instance_id).startswith(_VIDEO_SYNTAXES)
    return SeriesKind.VIDEO if is_video else None
