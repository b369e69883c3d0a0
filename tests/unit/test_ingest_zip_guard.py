"""A ZIP file costs what its files are worth, whatever it claims."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib

import pytest

from pacs.errors import InvalidInput, PacsError, TooLarge
from pacs.ingest.zip_guard import MEBIBYTE, ZipLimits, gunzip, is_zip, unpack

SMALL = ZipLimits(
    members=10, member_bytes=MEBIBYTE // 2, total_bytes=4 * MEBIBYTE, ratio=50, ratio_floor_bytes=MEBIBYTE
)


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_declared_size(archive: bytes, size: int) -> bytes:
    """Return the ZIP with another unpacked size of its first file, in the local header and in the directory."""
    body = bytearray(archive)
    struct.pack_into("<L", body, 22, size)
    struct.pack_into("<L", body, body.index(b"PK\x01\x02") + 24, size)
    return bytes(body)


def with_flags(archive: bytes, flags: int, method: int | None = None) -> bytes:
    """Return the ZIP with other flags (and method) of its first file."""
    body, entry = bytearray(archive), archive.index(b"PK\x01\x02")
    struct.pack_into("<H", body, 6, flags)
    struct.pack_into("<H", body, entry + 8, flags)
    if method is not None:
        struct.pack_into("<H", body, 8, method)
        struct.pack_into("<H", body, entry + 10, method)
    return bytes(body)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unpack_yields_each_file_when_the_zip_is_whole(method: int) -> None:
    """Every file comes out as it went in; folders are no files."""
    files = {"a.dcm": b"first" * 100, "folder/": b"", "folder/b.dcm": b"second", "empty": b""}
    members = list(unpack(packed(files, method)))
    assert {member.name: member.content for member in members} == {
        "a.dcm": b"first" * 100,
        "folder/b.dcm": b"second",
        "empty": b"",
    }
    assert not any(member.refusal for member in members)


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (b"PK\x03\x04", InvalidInput, "no end"),
        (b"PK\x03\x04" + bytes(5000), InvalidInput, "no end"),
        (packed({"a": b"x" * 1000})[:-30], InvalidInput, "no end"),
        (packed({str(i): b"" for i in range(11)}), TooLarge, "11 files; 10 are allowed"),
        (packed({str(i): bytes(MEBIBYTE) for i in range(5)}, zipfile.ZIP_STORED), TooLarge, "5 MB; 4 MB"),
        (packed({"a": bytes(MEBIBYTE), "b": bytes(MEBIBYTE)}), TooLarge, "times its size"),
        (with_declared_size(packed({"a": b"x"}), 3_000_000_000), TooLarge, "2861 MB; 4 MB"),
    ],
)
def test_unpack_refuses_the_whole_zip_when_its_directory_is_bad(
    body: bytes, error: type[PacsError], words: str
) -> None:
    """The fault is told before the first file is unpacked."""
    with pytest.raises(error, match=words):
        next(unpack(body, SMALL))


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (with_declared_size(packed({"bad": b"x" * 100, "good": b"y"}), 99), "damaged"),
        (with_declared_size(packed({"bad": b"x" * 100, "good": b"y"}), 101), "damaged"),
        (with_declared_size(packed({"bad": b"x" * 100, "good": b"y"}), MEBIBYTE // 2 + 1), "more than 0.5 MB"),
        (with_flags(packed({"bad": b"x" * 100, "good": b"y"}), 1), "password"),
        (with_flags(packed({"bad": b"x" * 100, "good": b"y"}), 0, method=99), "not supported"),
        (packed({"bad": packed({"inner": b"z"}), "good": b"y"}), "inside the ZIP"),
    ],
)
def test_unpack_refuses_one_file_when_only_that_is_bad(first: bytes, words: str) -> None:
    """The other file of the ZIP still comes out."""
    bad, good = unpack(first, SMALL)
    assert words in bad.refusal
    assert good.content == b"y"


def test_unpack_keeps_memory_to_one_file_when_there_are_many() -> None:
    """Forty files of a megabyte never lie in memory together."""
    body = packed({str(i): bytes(MEBIBYTE) for i in range(40)})
    tracemalloc.start()
    for member in unpack(body):
        assert member.content is not None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * MEBIBYTE


def test_unpack_does_not_read_a_directory_that_is_too_large() -> None:
    """A directory of a hundred thousand names is refused by its size, not by reading it."""
    body = packed({f"{i:0100}": b"" for i in range(2000)}, zipfile.ZIP_STORED)
    with pytest.raises(TooLarge, match="directory"):
        next(unpack(body, SMALL))


@pytest.mark.filterwarnings("ignore:Overlapped")
def test_unpack_refuses_overlapping_files_when_many_share_one_content() -> None:
    """The bomb that lets all entries of the directory point at one piece of data unpacks at most once."""
    body = bytearray(packed({"a": b"x" * 1000, "b": b"x" * 1000}))
    second = body.rindex(b"PK\x01\x02")
    struct.pack_into("<L", body, second + 42, 0)
    assert any(member.refusal for member in unpack(bytes(body), SMALL))


@pytest.mark.parametrize(
    ("body", "answer"), [(b"PK\x03\x04..", True), (packed({}), True), (bytes(128) + b"DICM", False), (b"", False)]
)
def test_is_zip_tells_a_zip_by_its_first_bytes(body: bytes, answer: bool) -> None:  # noqa: FBT001
    """DICOM files are not taken for ZIP files."""
    assert is_zip(body) is answer


def test_gunzip_returns_the_content_when_it_is_within_the_limit() -> None:
    """A body of Content-Encoding gzip comes out as it went in."""
    assert gunzip(gzip.compress(b"x" * 1000), 1000) == b"x" * 1000


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (gzip.compress(b"x" * 1001), TooLarge),
        (gzip.compress(b"x" * 1000)[:-9], InvalidInput),
        (b"no gzip", InvalidInput),
        (zlib.compress(b"x"), InvalidInput),
    ],
)
def test_gunzip_refuses_a_body_when_it_is_too_large_or_broken(body: bytes, error: type[PacsError]) -> None:
    """A gzip bomb is not inflated beyond the limit."""
    with pytest.raises(error):
        gunzip(body, 1000)
