"""Which function a program or library of this process really calls, seen and changed.

A program calls a function of another library through a pointer of its own, which the loader set when it linked the
two. Pointing it elsewhere changes what that one program calls and nothing else. It is how the plugins put right what
is compiled into Debian's programs.

Sources: ELF-64 object file format, chapters Dynamic Linking and Relocation; proc(5), maps and mem.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# What reading and writing them raises where a processor or a version of a library is not what we know.
LINKAGE_FAULTS = (OSError, LookupError, ValueError, AttributeError, struct.error)
# R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT; R_AARCH64_GLOB_DAT, R_AARCH64_JUMP_SLOT.
_REFERENCES = {"x86_64": {6, 7}, "aarch64": {1025, 1026}}
_ET_DYN = 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL = 2, 5, 6, 7, 8, 23
_PROGRAM_HEADER = struct.Struct("<2L6Q")
_DYNAMIC = struct.Struct("<qQ")
_RELOCATION = struct.Struct("<QQq")
_SYMBOL_BYTES = 24


@dataclass(frozen=True)
class LoadedObject:
    """A shared library of this process, or its program: where it is loaded and its file."""

    base: int
    content: bytes

    def references(self, symbol: str) -> Iterator[int]:
        """Yield the addresses in this process where the object keeps its pointer to `symbol`."""
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


def loaded(name: str) -> LoadedObject:
    """Find a library of this process, or its program, by the beginning of its file name.

    Raises
    ------
    LookupError : nothing of that name is loaded.
    """
    for line in Path("/proc/self/maps").read_text(encoding="ascii", errors="replace").splitlines():
        addresses, _, offset, *_, path = line.split()
        if Path(path).name.startswith(name) and int(offset, 16) == 0:
            content = Path(path).read_bytes()
            (kind,) = struct.unpack_from("<H", content, 16)
            # A program at a fixed place (ET_EXEC) has true addresses in its file already.
            return LoadedObject(int(addresses.split("-")[0], 16) if kind == _ET_DYN else 0, content)
    raise LookupError(f"{name} is not loaded")


def address_of(function: object) -> int:
    """Return where a function of `ctypes` is, a library's or one made of Python."""
    address = ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
    if address is None:
        raise LookupError(f"{function} has no address")
    return address


def redirect(name: str, symbol: str, function: object) -> list[int]:
    """Have the object `name` call `function` where it calls `symbol`; return where it keeps the pointers to it.

    A function made of Python must be kept for as long as it can be called.

    Raises
    ------
    LookupError : the object is not loaded, or does not call `symbol`.
    """
    references = list(loaded(name).references(symbol))
    if not references:
        raise LookupError(f"{name} does not call {symbol}")
    point(references, address_of(function))
    return references


def point(references: Iterable[int], address: int) -> None:
    """Write `address` into each reference, through /proc/self/mem: the table is read-only once a library is linked."""
    with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
        for reference in references:
            memory.seek(reference)
            memory.write(struct.pack("<Q", address))
