"""Orthanc's plugin context, and with it the services that the Python plugin (5.0) does not offer.

The context is a structure that the Python plugin keeps in a variable of its own. It is looked for there, and taken only
when everything about it is right.

Source: OrthancCPlugin.h (`OrthancPluginContext`); the numbers and layouts are its binary interface, which stays.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

_LIBRARY = "libOrthancPython.so"
_PROGRAM = "Orthanc"
_VERSION = re.compile(rb"\d+\.\d+\.\d+\0|mainline\0")
_VERSION_BYTES = 12
_POINTER = struct.Struct("<Q")
# Of OrthancPluginContext: the manager, the version as text, the function that frees, the function that serves.
_CONTEXT = struct.Struct("<4Q")
_SERVE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p)
_SUCCESS = 0


def register(service: int, callback: Any) -> None:
    """Give Orthanc a callback of C, for as long as the process lives. Call while plugins are loaded.

    Parameters
    ----------
    service : the number of the registration (`_OrthancPluginService_Register...`).
    callback : made by ctypes.CFUNCTYPE.

    Raises
    ------
    LookupError : Orthanc or its Python plugin are not as known, or Orthanc refuses.
    """
    address = _find_context()
    serve = _SERVE(ctypes.c_void_p.from_address(address + 3 * _POINTER.size).value or 0)
    # One reference more, so that it is never taken apart: Orthanc keeps its address until the process ends.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(callback))
    registration = ctypes.c_void_p(ctypes.cast(callback, ctypes.c_void_p).value)
    code: int = serve(address, service, ctypes.addressof(registration))
    if code != _SUCCESS:
        raise LookupError(f"Orthanc refused the registration (code {code})")


@dataclass(frozen=True)
class _Region:
    """A part of this process's memory."""

    start: int
    end: int
    rights: str
    file_name: str


@cache
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
