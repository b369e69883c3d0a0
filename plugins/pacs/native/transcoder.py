"""Orthanc's transcoder callback, which its C plugins have and the Python plugin (5.0) does not offer.

Orthanc asks its plugins' transcoders for each image that somebody wants in another form than it is stored in, also to
show it when its own decoders can't. Registering one takes Orthanc's plugin context, a structure that the Python plugin
keeps in a variable of its own; it is looked for there, and taken only when everything about it is right.

Source: OrthancCPlugin.h (`OrthancPluginContext`, `OrthancPluginRegisterTranscoderCallback`); the numbers and layouts
are its binary interface, which stays.
"""

from __future__ import annotations

import ctypes
import logging
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

_LOG = logging.getLogger(__name__)
_LIBRARY = "libOrthancPython.so"
_PROGRAM = "Orthanc"
_VERSION = re.compile(rb"\d+\.\d+\.\d+\0|mainline\0")
_VERSION_BYTES = 12
_POINTER = struct.Struct("<Q")
# Of OrthancPluginContext: the manager, the version as text, the function that frees, the function that serves.
_CONTEXT = struct.Struct("<4Q")
_REGISTER_TRANSCODER = 1015
_SUCCESS, _PLUGIN_FAILED, _NOT_IMPLEMENTED, _NO_MEMORY = 0, 1, 2, 4
_LARGEST_BYTES = 2**32 - 1

# Given a DICOM file, valid during the call only, and transfer syntaxes; returns it in one of them, None if it can't.
type Transcode = Callable[[memoryview, frozenset[str]], bytes | None]


class _Buffer(ctypes.Structure):
    """OrthancPluginMemoryBuffer. Orthanc frees what `data` points at, by free(3)."""

    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_uint32))


class _BufferPointer(Protocol):
    contents: _Buffer


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    ctypes.POINTER(_Buffer),
    ctypes.c_void_p,
    ctypes.c_uint64,
    ctypes.POINTER(ctypes.c_char_p),
    ctypes.c_uint32,
    ctypes.c_uint8,
)
_SERVE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p)
_malloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(("malloc", ctypes.CDLL(None)))


class _Registration(ctypes.Structure):
    """_OrthancPluginTranscoderCallback."""

    _fields_ = (("callback", _CALLBACK),)


def register_transcoder(transcode: Transcode) -> bool:
    """Have `transcode` asked by Orthanc, from many threads at once; what it raises is a refusal.

    Returns False, with a warning in the log, where Orthanc or its Python plugin are not as known. Call while plugins
    are loaded.
    """
    try:
        address = _find_context()
        serve = _SERVE(ctypes.c_void_p.from_address(address + 3 * _POINTER.size).value or 0)
        callback = _CALLBACK(_answering(transcode))
        # One reference more, so that it is never taken apart: Orthanc keeps its address until the process ends.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(callback))
        code: int = serve(address, _REGISTER_TRANSCODER, ctypes.addressof(_Registration(callback)))
    except (OSError, LookupError, ValueError) as error:
        _LOG.warning("JPEG 2000 can't be shown or sent in another form: %s", error)
        return False
    if code != _SUCCESS:
        _LOG.warning("JPEG 2000 can't be shown or sent in another form: Orthanc refused the transcoder (code %d)", code)
    return code == _SUCCESS


def _answering(transcode: Transcode) -> Callable[..., int]:
    def answer(
        target: _BufferPointer, dicom: int, size: int, syntaxes: list[bytes], count: int, _allow_new_uid: int
    ) -> int:
        try:
            allowed = frozenset(syntaxes[place].decode("ascii") for place in range(count))
            result = transcode(memoryview((ctypes.c_char * size).from_address(dicom)).cast("B"), allowed)
            return _NOT_IMPLEMENTED if result is None else _hand_over(result, target.contents)
        except Exception:  # noqa: BLE001 - the edge of a callback: whatever it is, Orthanc gets a refusal
            _LOG.debug("refused to transcode", exc_info=True)
            return _PLUGIN_FAILED

    return answer


def _hand_over(result: bytes, target: _Buffer) -> int:
    if len(result) > _LARGEST_BYTES:
        return _NO_MEMORY
    address = _malloc(len(result))
    if not address:
        return _NO_MEMORY
    ctypes.memmove(address, result, len(result))
    target.data, target.size = address, len(result)
    return _SUCCESS


@dataclass(frozen=True)
class _Region:
    """A part of this process's memory."""

    start: int
    end: int
    rights: str
    file_name: str


def _find_context() -> int:
    """Return the address of Orthanc's plugin context.

    Raises
    ------
    LookupError : there is none, or more than one thing that looks like it.
    """
    regions = list(_regions())
    code = [region for region in regions if region.file_name == _PROGRAM and "x" in region.rights]
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        found: set[int] = {
            pointer
            for region in _variables(regions)
            for (pointer,) in _POINTER.iter_unpack(_read(memory, region.start, region.end - region.start))
            if _is_context(memory, pointer, code)
        }
    if len(found) != 1:
        raise LookupError(f"found {len(found)} plugin contexts of Orthanc in {_LIBRARY}, expected one")
    return found.pop()


def _regions() -> Iterator[_Region]:
    for line in Path("/proc/self/maps").read_text(encoding="ascii", errors="replace").splitlines():
        addresses, rights, _, _, _, *path = line.split(maxsplit=5)
        start, _, end = addresses.partition("-")
        yield _Region(int(start, 16), int(end, 16), rights, Path(path[0]).name if path else "")


def _variables(regions: list[_Region]) -> Iterator[_Region]:
    """Yield where the Python plugin keeps its variables: its writable parts, and what follows them without a file."""
    before = _Region(0, 0, "", "")
    for region in regions:
        is_its_own = region.file_name.startswith(_LIBRARY)
        follows = not region.file_name and before.file_name.startswith(_LIBRARY) and before.end == region.start
        if (is_its_own or follows) and region.rights.startswith("rw"):
            yield region
        before = region


def _is_context(memory: BinaryIO, pointer: int, code: list[_Region]) -> bool:
    fields = _read(memory, pointer, _CONTEXT.size)
    if len(fields) < _CONTEXT.size:
        return False
    _, version, _, serve = _CONTEXT.unpack(fields)
    is_code = any(region.start <= serve < region.end for region in code)
    return is_code and _VERSION.match(_read(memory, version, _VERSION_BYTES)) is not None


def _read(memory: BinaryIO, address: int, size: int) -> bytes:
    """Read memory of this process; nothing where there is none."""
    try:
        memory.seek(address)
        return memory.read(size)
    except (OSError, ValueError, OverflowError):
        return b""
