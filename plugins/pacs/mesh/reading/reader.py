"""Samples of slices, from their files."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from pacs.mesh.errors import UndecodableInstance
from pacs.mesh.reading.codecs import NoDecoder, decoded, decoded_bits
from pacs.mesh.reading.encapsulation import Fragment, FramesUnclear, frames_of, joined
from pacs.mesh.reading.files import Content, opened
from pacs.mesh.reading.header import Header
from pacs.mesh.reading.pixel_format import PixelFormat, format_of, integer_format, truncated
from pacs.mesh.reading.slices import Slice

_NATIVE: Final = frozenset(
    {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
)
# In an explicit element of long form: two bytes of representation, two reserved, four of length.
_VR_BEFORE_VALUE: Final = 8


class SliceReader:
    """Reads slices, from several threads at once. Keeps files of many frames open until it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._contents: dict[int, Content] = {}
        self._fragments: dict[int, list[list[Fragment]]] = {}
        self._scratch = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._open.close()

    def read(self, one: Slice, form: PixelFormat) -> NDArray[Any]:
        """Return the samples of a slice, shape (rows, columns); they may be changed until this thread reads again.

        Raises
        ------
        TruncatedInstance : the file ends before the pixels do.
        UndecodableInstance : the pixels can't be decoded.
        """
        try:
            samples = self._native(one, form) if is_native(one.header) else self._decoded(one, form, decoded)
        except EOFError as fault:
            raise truncated(one.header, "its pixels are to go on", one.header.size) from fault
        if form.is_integer and (samples.min() < form.lowest or samples.max() > form.highest):
            return form.without_strange_bits(samples)
        return samples

    def bits(self, one: Slice) -> NDArray[np.uint8]:
        """Return the pixels of a slice of single bits, shape (rows, columns): 0 or 1.

        Raises
        ------
        TruncatedInstance : the file ends before the pixels do.
        UndecodableInstance : the pixels can't be decoded.
        """
        try:
            if is_native(one.header):
                return self._native_bits(one)
            return self._decoded(one, integer_format(one.header), decoded_bits)
        except EOFError as fault:
            raise truncated(one.header, "its pixels are to go on", one.header.size) from fault

    def fingerprint(self, one: Slice) -> bytes:
        """Return what is the same for slices with the same pixels."""
        return hashlib.blake2b(self.read(one, format_of(one.header)), digest_size=16).digest()

    @contextmanager
    def _content(self, header: Header) -> Iterator[Content]:
        if header.frames == 1:
            with opened(header.file, inflated_from=header.inflated_from) as content:
                yield content
            return
        with self._lock:
            if id(header) not in self._contents:
                content = self._open.enter_context(opened(header.file, inflated_from=header.inflated_from))
                self._contents[id(header)] = content
        yield self._contents[id(header)]

    def _native(self, one: Slice, form: PixelFormat) -> NDArray[Any]:
        samples = self._buffer(form)
        start = _start_of_pixels(one.header) + one.frame * form.frame_bytes
        with self._content(one.header) as content:
            content.read_into(start, memoryview(samples).cast("B"))
        if form.is_swapped:
            self._swap(one.header, samples)
        return samples

    def _swap(self, header: Header, samples: NDArray[Any]) -> None:
        """Bring big endian samples into the native order; those of 8 bits may lie in words."""
        if samples.itemsize > 1:
            samples.byteswap(inplace=True)
            return
        with self._content(header) as content:
            vr = content.read(_start_of_pixels(header) - _VR_BEFORE_VALUE, 2)
        if vr == b"OW" and samples.size % 2 == 0:
            samples.ravel().view(np.uint16).byteswap(inplace=True)

    def _buffer(self, form: PixelFormat) -> NDArray[Any]:
        """Return this thread's array for one frame: it stays in the processor's cache."""
        buffer: NDArray[Any] | None = getattr(self._scratch, "buffer", None)
        if buffer is None or buffer.shape != (form.rows, form.columns) or buffer.dtype != form.dtype:
            buffer = self._scratch.buffer = np.empty((form.rows, form.columns), form.dtype)
        return buffer

    def _native_bits(self, one: Slice) -> NDArray[np.uint8]:
        """Unpack a frame, which need not begin with a byte (PS3.5 8.1.1)."""
        count = one.rows * one.columns
        first = one.frame * count
        packed = np.empty((first + count + 7) // 8 - first // 8, np.uint8)
        with self._content(one.header) as content:
            content.read_into(_start_of_pixels(one.header) + first // 8, memoryview(packed))
        return np.unpackbits(packed, bitorder="little")[first % 8 :][:count].reshape(one.rows, one.columns)

    def _decoded(
        self, one: Slice, form: PixelFormat, decode: Callable[[str, bytes, PixelFormat], NDArray[Any]]
    ) -> NDArray[Any]:
        try:
            with self._content(one.header) as content:
                stream = joined(content, self._fragments_of(content, one.header)[one.frame])
            return decode(one.header.transfer_syntax_uid, stream, form)
        except NoDecoder as fault:
            known = f"its transfer syntax {one.header.transfer_syntax_uid} is not known here"
            raise _undecodable(one, known) from fault
        except FramesUnclear as fault:
            raise _undecodable(one, "nothing tells where its frames begin") from fault
        except (RuntimeError, ValueError) as fault:
            raise _undecodable(one, f"its pixels are damaged ({type(fault).__name__})") from fault

    def _fragments_of(self, content: Content, header: Header) -> list[list[Fragment]]:
        if header.frames == 1:
            return frames_of(content, _start_of_pixels(header), 1)
        with self._lock:
            if id(header) not in self._fragments:
                self._fragments[id(header)] = frames_of(content, _start_of_pixels(header), header.frames)
        return self._fragments[id(header)]


def _start_of_pixels(header: Header) -> int:
    if header.pixels is None:
        raise EOFError
    return header.pixels.start


def is_native(header: Header) -> bool:
    """Whether the pixels are not compressed."""
    return header.transfer_syntax_uid in _NATIVE


def _undecodable(one: Slice, fault: str) -> UndecodableInstance:
    return UndecodableInstance(
        f"The pixels of {one.name} can't be decoded: {fault}.",
        remedy="Send the instance again, or uncompressed.",
        sop_instance_uids=[one.header.sop_instance_uid],
    )
