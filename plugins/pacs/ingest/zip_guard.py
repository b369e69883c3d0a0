"""ZIP files posted to /instances, unpacked in bounded memory.

Orthanc 1.12.7 unpacks a posted ZIP by itself: it allocates whatever size a member declares (46 MB sent become 10 GB
in memory), keeps at it for minutes, and leaves files that are no DICOM out of its answer. Here a ZIP is judged by its
directory first, then unpacked one file at a time; each file gets an outcome of its own.

Sources: PKWARE APPNOTE.TXT sections 4.3.14 to 4.3.16 (end of central directory and its ZIP64 form); PS3.10 section
7.1 (DICM prefix).
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pacs.errors import InvalidInput, TooLarge
from pacs.ingest.inflation import GZIP, InflatesTooFar, inflate

MEBIBYTE = 1024 * 1024
_LOCAL_HEADER = b"PK\x03\x04"
_EMPTY_ARCHIVE = b"PK\x05\x06"
_END_RECORD = struct.Struct("<4s4H2LH")
_ZIP64_END_RECORD = struct.Struct("<4sQ2H2L4Q")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_LONGEST_COMMENT_BYTES = 65535
_IN_ZIP64 = 0xFFFFFFFF
# A record of the directory has 46 bytes, a name and extra fields: what is planned for one on average.
_DIRECTORY_BYTES_PER_MEMBER = 400
_CHUNK_BYTES = MEBIBYTE


@dataclass(frozen=True)
class ZipLimits:
    """How much a ZIP may unpack to.

    Attributes
    ----------
    ratio : unpacked to packed bytes of the whole; looked at only above `ratio_floor_bytes`, since a blank image also
    packs well.
    """

    members: int = 20_000
    member_bytes: int = 2048 * MEBIBYTE
    total_bytes: int = 20 * 1024 * MEBIBYTE
    ratio: float = 200.0
    ratio_floor_bytes: int = 256 * MEBIBYTE


@dataclass(frozen=True)
class ZipMember:
    """A file of the ZIP: its content, or the reason why there is none.

    Attributes
    ----------
    name : path inside the ZIP, as written there; never used as a path on the disk.
    """

    name: str
    content: bytes | None = None
    refusal: str = ""


def is_zip(body: bytes) -> bool:
    """Return True for what Orthanc would take for a ZIP file."""
    return body[:4] in (_LOCAL_HEADER, _EMPTY_ARCHIVE)


def unpack(body: bytes, limits: ZipLimits = ZipLimits()) -> Iterator[ZipMember]:
    """Judge the whole ZIP, then yield its files one by one. Directories are left out.

    Memory: the directory (bounded by `limits.members`) and one member at a time. May be called in any thread.

    Raises
    ------
    InvalidInput
        When `body` is no readable ZIP file. Raised on the first step, before anything is unpacked.
    TooLarge
        When its directory declares more than `limits` allow. Likewise.
    """
    archive = _open(body, limits)
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _judge(infos, len(body), limits)
    for info in infos:
        yield _member(archive, info, limits)


def gunzip(body: bytes, limit_bytes: int) -> bytes:
    """Return what a body sent with Content-Encoding gzip holds; raise TooLarge when that is over the limit.

    Raises
    ------
    InvalidInput
        When it is no whole gzip stream.
    """
    try:
        content, is_whole = inflate(body, GZIP, limit_bytes)
    except zlib.error as error:
        raise InvalidInput(f"The body says it is gzip but cannot be unpacked ({error}).") from error
    except InflatesTooFar:
        message = f"The body unpacks to more than {_mebibytes(limit_bytes)}, or to very much more than its size."
        raise TooLarge(message, remedy="Send one file a request.") from None
    if not is_whole:
        raise InvalidInput("The gzip stream of the body ends too early.", remedy="Send it again.")
    return content


def _open(body: bytes, limits: ZipLimits) -> zipfile.ZipFile:
    """Open the ZIP once its directory is known to fit into memory."""
    directory_bytes = _directory_bytes(body)
    if directory_bytes > limits.members * _DIRECTORY_BYTES_PER_MEMBER:
        raise TooLarge(
            f"The ZIP file's directory has {directory_bytes} bytes, too many for {limits.members} files.",
            remedy="Send fewer files at a time.",
        )
    try:
        return zipfile.ZipFile(io.BytesIO(body))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InvalidInput(f"The ZIP file cannot be read ({error}).", remedy="Pack it again.") from error


def _directory_bytes(body: bytes) -> int:
    """Return the size that the end record gives for the central directory, the thing that Python reads into memory."""
    start = body.rfind(_EMPTY_ARCHIVE, max(0, len(body) - _END_RECORD.size - _LONGEST_COMMENT_BYTES))
    if start < 0 or start + _END_RECORD.size > len(body):
        raise InvalidInput("The ZIP file has no end: it was cut short or is no ZIP file.", remedy="Send it again.")
    size = int(_END_RECORD.unpack_from(body, start)[5])
    locator = start - _ZIP64_LOCATOR.size
    if locator >= 0 and body[locator : locator + 4] == b"PK\x06\x07":
        return max(size % _IN_ZIP64, _zip64_directory_bytes(body, locator))
    return size


def _zip64_directory_bytes(body: bytes, locator: int) -> int:
    """Return the size of the directory from the ZIP64 end record, which Python expects just before its locator."""
    start = locator - _ZIP64_END_RECORD.size
    if start < 0 or body[start : start + 4] != b"PK\x06\x06":
        raise InvalidInput("The ZIP64 file has no end record.", remedy="Pack it again.")
    return int(_ZIP64_END_RECORD.unpack_from(body, start)[8])


def _judge(infos: list[zipfile.ZipInfo], packed_bytes: int, limits: ZipLimits) -> None:
    """Raise TooLarge when what the directory declares is over a limit of the whole."""
    if len(infos) > limits.members:
        raise TooLarge(f"The ZIP file holds {len(infos)} files; {limits.members} are allowed.", remedy="Send fewer.")
    total = sum(info.file_size for info in infos)
    if total > limits.total_bytes:
        raise TooLarge(
            f"The ZIP file unpacks to {_mebibytes(total)}; {_mebibytes(limits.total_bytes)} are allowed.",
            remedy="Send it in parts.",
        )
    if total > limits.ratio_floor_bytes and total > packed_bytes * limits.ratio:
        raise TooLarge(
            f"The ZIP file unpacks to {total // max(packed_bytes, 1)} times its size, which no images do "
            f"({limits.ratio:.0f} is the limit).",
            remedy="Send the files one by one.",
        )


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: ZipLimits) -> ZipMember:
    """Unpack one file, or say why not. A fault of one file is no fault of its neighbors."""
    if info.file_size > limits.member_bytes:
        return ZipMember(info.filename, refusal=f"unpacks to more than {_mebibytes(limits.member_bytes)}")
    try:
        content = _read(archive, info)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        return ZipMember(info.filename, refusal=f"damaged in the ZIP file ({error})")
    except NotImplementedError:
        return ZipMember(info.filename, refusal="packed with a method that is not supported")
    except RuntimeError:  # what zipfile raises for a password
        return ZipMember(info.filename, refusal="protected by a password")
    if is_zip(content):
        return ZipMember(info.filename, refusal="a ZIP file inside the ZIP file")
    return ZipMember(info.filename, content=content)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Unpack one file. zipfile stops at the declared size and checks the CRC, so a size that lies does no harm."""
    content = io.BytesIO()
    with archive.open(info) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            content.write(chunk)
    if content.tell() != info.file_size:
        raise zipfile.BadZipFile(f"{content.tell()} bytes instead of {info.file_size}")
    return content.getvalue()


def _mebibytes(count: int) -> str:
    return f"{count / MEBIBYTE:g} MB" if count < MEBIBYTE else f"{count / MEBIBYTE:.0f} MB"
