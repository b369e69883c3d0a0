"""Bytes of stored instances, wherever in a file they lie; deflated ones as if they were not."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pacs.mesh.errors import UnreadableInstance


@dataclass(frozen=True, slots=True)
class InstanceFile:
    """Where an instance lies: a DICOM file (PS3.10) at `offset` of the file `path`."""

    path: Path
    offset: int = 0


class Content:
    """The bytes of one instance, read where they are needed. Offsets count from its beginning."""

    def __init__(self, descriptor: int, offset: int, name: str) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._name = name
        self._inflated: bytes | None = None
        self.size = max(os.fstat(descriptor).st_size - offset, 0)

    def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes from `start`, or what there is of them."""
        if self._inflated is not None:
            return self._inflated[start : start + count]
        return os.pread(self._descriptor, count, self._offset + start)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start`.

        Raises
        ------
        EOFError : there are not as many.
        """
        if self._inflated is not None:
            part = self._inflated[start : start + buffer.nbytes]
            buffer[: len(part)] = part
            done = len(part)
        else:
            done = _read_fully(self._descriptor, self._offset + start, buffer)
        if done < buffer.nbytes:
            raise EOFError

    def inflate(self, start: int) -> None:
        """Take what comes after `start` as deflated (PS3.5 A.5) and read it inflated from now on.

        Raises
        ------
        UnreadableInstance : it is damaged.
        """
        packed = os.pread(self._descriptor, self.size, self._offset)
        try:
            self._inflated = packed[:start] + zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed[start:])
        except zlib.error as fault:
            raise UnreadableInstance(f"The deflated data of an instance are damaged ({self._name}).") from fault
        self.size = len(self._inflated)


def _read_fully(descriptor: int, start: int, buffer: memoryview) -> int:
    done = 0
    while done < buffer.nbytes:
        count = os.preadv(descriptor, [buffer[done:]], start + done)
        if not count:
            break
        done += count
    return done


@contextmanager
def opened(file: InstanceFile, *, inflated_from: int | None = None) -> Iterator[Content]:
    """Open an instance; `inflated_from` is where its deflated data begin.

    Raises
    ------
    UnreadableInstance : there is no such file, or it may not be read.
    """
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as fault:
        raise UnreadableInstance(
            f"The file of an instance can't be read: {fault.strerror} ({file.path.name})."
        ) from fault
    try:
        content = Content(descriptor, file.offset, file.path.name)
        if inflated_from is not None:
            content.inflate(inflated_from)
        yield content
    finally:
        os.close(descriptor)
