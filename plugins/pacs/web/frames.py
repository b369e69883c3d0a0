"""Frames over DICOMweb that Orthanc's plugin has no answer for: those of JPEG 2000 in its high-throughput form.

orthanc-dicomweb 1.20 knows no HTJ2K and answers such a frame with status 500, whatever is asked for. NGINX then asks
here, and only then. Source: PS3.18 sections 8.7 (media types), 10.4 (retrieving frames).
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.request import parse_http_list
from uuid import uuid4

from pacs.decoding.decoder import Decoder
from pacs.decoding.syntaxes import DECODED_SYNTAXES, EXPLICIT_VR_LITTLE_ENDIAN
from pacs.errors import ArchiveError, NotFound, PacsError
from pacs.ports import Archive
from pacs.web.instances import transfer_syntax

_OCTETS = "application/octet-stream"
# PS3.18 table 8.7.3-2.
_MEDIA_TYPES = {
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
}


class NotAcceptable(PacsError):
    """None of the forms that the client takes can be made of this image."""

    code = "not-acceptable"
    status = HTTPStatus.NOT_ACCEPTABLE


class NoFrame(PacsError):
    """Orthanc failed at a frame that is none of ours."""

    code = "frame"


@dataclass(frozen=True)
class Form:
    """The form of frames in an answer."""

    media_type: str
    transfer_syntax: str


def read_frames(
    archive: Archive, decoder: Decoder, instance_id: str, numbers: list[int], accept: str
) -> tuple[Form, list[bytes]]:
    """Return frames (from 1) in the first form that the client names of the two that there are: stored, uncompressed.

    Raises
    ------
    NotAcceptable : the client takes neither.
    NotFound : there is no frame of that number.
    NoFrame : the file has no such frame in it, or is of a syntax that Orthanc decodes itself.
    ProcessError : the image can't be decoded.
    """
    path = f"/instances/{instance_id}"
    syntax = transfer_syntax(archive, instance_id)
    if syntax not in DECODED_SYNTAXES:
        raise NoFrame("Orthanc could not read or convert this frame.", remedy="Its log has the details.")
    form = choose_form(accept, syntax)
    indices = [number - 1 for number in numbers]
    if not set(indices) <= set(archive.get_json(f"{path}/frames")):
        raise NotFound("Expected the numbers of frames that this image has, found others.")
    if form.transfer_syntax == syntax:
        return form, [_stored_frame(archive, path, index) for index in indices]
    return form, decoder.frames(archive.get_bytes(f"{path}/file"), indices)


def choose_form(accept: str, stored: str) -> Form:
    """Return the first form of the header Accept that can be given of an image stored in the transfer syntax `stored`.

    Raises
    ------
    NotAcceptable : there is none.
    """
    uncompressed, media_type = Form(_OCTETS, EXPLICIT_VR_LITTLE_ENDIAN), _MEDIA_TYPES[stored]
    # What a client gets that names no transfer syntax (PS3.18 section 8.7.3.3.2, 8.7.3.3.1).
    defaults = {_OCTETS: EXPLICIT_VR_LITTLE_ENDIAN, media_type: stored}
    for entry in parse_http_list(accept) or ["*/*"]:
        kind, options = _parse(entry)
        if kind not in {"multipart/related", "*/*"}:
            continue
        wanted = _OCTETS if options.get("type") in {None, "*/*"} else options["type"]
        syntax = options.get("transfer-syntax", defaults.get(wanted))
        if wanted in defaults and syntax in {"*", stored}:
            return Form(wanted, stored)
        if wanted == _OCTETS and syntax == EXPLICIT_VR_LITTLE_ENDIAN:
            return uncompressed
    raise NotAcceptable(
        f"This image can be given in the transfer syntaxes {stored} and {EXPLICIT_VR_LITTLE_ENDIAN}.",
        remedy=f"Accept multipart/related; type={_OCTETS}; transfer-syntax=*",
    )


def multipart(form: Form, parts: list[bytes]) -> tuple[str, bytes]:
    """Return the content type and the body of an answer with one part for each frame (RFC 2387)."""
    boundary = uuid4().hex
    kind = f"{form.media_type}; transfer-syntax={form.transfer_syntax}"
    head = f"--{boundary}\r\nContent-Type: {kind}\r\nContent-Length: ".encode()
    body = b"".join(head + b"%d\r\n\r\n%b\r\n" % (len(part), part) for part in parts)
    outer = f'multipart/related; type="{form.media_type}"; transfer-syntax={form.transfer_syntax}; boundary={boundary}'
    return outer, body + f"--{boundary}--\r\n".encode()


def _stored_frame(archive: Archive, path: str, index: int) -> bytes:
    try:
        return archive.get_bytes(f"{path}/frames/{index}/raw")
    except ArchiveError as error:
        raise NoFrame("The file does not hold the frame that it says it has.") from error


def _parse(entry: str) -> tuple[str, dict[str, str]]:
    """Take one entry of Accept apart. OHIF writes type=application/octet-stream without the quotes that it needs."""
    kind, *parameters = entry.split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
