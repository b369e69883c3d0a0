"""HTTP threads with a whole stack.

Debian 13 builds libcivetweb, Orthanc's HTTP server, with stacks of 100 KB. A JSON body with 400 opening brackets, or
a DICOM file with 60 nested sequences, overflows that and ends Orthanc; so may anything in Python that recurses in C
(json, re, an import) in a REST callback. The size is compiled in. The one thing that can be changed is which function
libcivetweb calls to set it: its reference to `pthread_attr_setstacksize` is pointed at `pthread_attr_setscope`, which
refuses such a value and changes nothing, so that threads get the process's default (8 MB, of which only what is used
takes memory).

Sources: ELF-64 object file format, chapters Dynamic Linking and Relocation; pthread_attr_setscope(3).
"""

from __future__ import annotations

import ctypes
import logging
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LOG = logging.getLogger(__name__)
_LIBRARY = "libcivetweb.so"
_CALLED = "pthread_attr_setstacksize"
_INSTEAD = "pthread_attr_setscope"
# R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT; R_AARCH64_GLOB_DAT, R_AARCH64_JUMP_SLOT.
_REFERENCES = {"x86_64": {6, 7}, "aarch64": {1025, 1026}}
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL = 2, 5, 6, 7, 8, 23
_PROGRAM_HEADER = struct.Struct("<2L6Q")
_DYNAMIC = struct.Struct("<qQ")
_RELOCATION = struct.Struct("<QQq")
_SYMBOL_BYTES = 24


def give_http_threads_whole_stacks() -> bool:
    """Let threads that the HTTP server starts from now on have the default stack.

    Returns False, with a warning in the log, where that is not possible: another processor, another civetweb. Call
    while plugins are loaded, which is before Orthanc starts its HTTP server.
    """
    try:
        library = _loaded(_LIBRARY)
        slots = list(library.references(_CALLED))
        instead = ctypes.cast(getattr(ctypes.CDLL(None), _INSTEAD), ctypes.c_void_p).value
        if not slots or instead is None:
            _LOG.warning("HTTP threads keep their small stacks: %s does not call %s", _LIBRARY, _CALLED)
            return False
        _write(slots, instead)
    except (OSError, LookupError, ValueError, AttributeError, struct.error) as error:
        _LOG.warning("HTTP threads keep their small stacks, and a deeply nested body can end Orthanc: %s", error)
        return False
    return True


@dataclass(frozen=True)
class _Library:
    """A shared library of this process: where it is loaded and its file."""

    base: int
    content: bytes

    def references(self, symbol: str) -> Iterator[int]:
        """Yield the addresses in this process where the library keeps its pointer to `symbol`."""
        dynamic = dict(self._dynamic())
        kinds = _REFERENCES[platform.machine()]
        for table, size in ((_DT_JMPREL, _DT_PLTRELSZ), (_DT_RELA, _DT_RELASZ)):
            start = self._offset(dynamic[table])
            for address, info, _ in _RELOCATION.iter_unpack(self.content[start : start + dynamic[size]]):
                if info & 0xFFFFFFFF in kinds and self._name(dynamic, info >> 32) == symbol:
                    yield self.base + address

    def _segments(self) -> Iterator[tuple[int, ...]]:
        """Yield the program headers: type, flags, offset, address, physical address, sizes, alignment."""
        (start,) = struct.unpack_from("<Q", self.content, 32)
        (count,) = struct.unpack_from("<H", self.content, 56)
        yield from _PROGRAM_HEADER.iter_unpack(self.content[start : start + count * _PROGRAM_HEADER.size])

    def _dynamic(self) -> Iterator[tuple[int, int]]:
        for kind, _, offset, _, _, size, _, _ in self._segments():
            if kind == _PT_DYNAMIC:
                yield from _DYNAMIC.iter_unpack(self.content[offset : offset + size])

    def _offset(self, address: int) -> int:
        """Return where in the file the byte is that is loaded at `address`."""
        for kind, _, offset, start, _, size, _, _ in self._segments():
            if kind == _PT_LOAD and start <= address < start + size:
                return address - start + offset
        raise LookupError(f"address {address:#x} is not in the file")

    def _name(self, dynamic: dict[int, int], symbol: int) -> str:
        entry = self._offset(dynamic[_DT_SYMTAB]) + symbol * _SYMBOL_BYTES
        (name,) = struct.unpack_from("<L", self.content, entry)
        start = self._offset(dynamic[_DT_STRTAB]) + name
        return self.content[start : self.content.index(b"\0", start)].decode("ascii", "replace")


def _loaded(name: str) -> _Library:
    """Find a library of this process by the beginning of its file name."""
    for line in Path("/proc/self/maps").read_text(encoding="ascii", errors="replace").splitlines():
        addresses, _, offset, *_, path = line.split()
        if Path(path).name.startswith(name) and int(offset, 16) == 0:
            return _Library(int(addresses.split("-")[0], 16), Path(path).read_bytes())
    raise LookupError(f"{name} is not loaded")


def _write(addresses: list[int], value: int) -> None:
    """Write a pointer at each address, through /proc/self/mem: the table is read-only once a library is linked."""
    with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        for address in addresses:
            memory.seek(address)
            memory.write(struct.pack("<Q", value))
