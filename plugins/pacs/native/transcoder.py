"""Orthanc's transcoder callback, which its C plugins have and the Python plugin (5.0) does not offer.

Orthanc asks its plugins' transcoders for each image that somebody wants in another form than it is stored in, also to
show it when its own decoders can't.

Source: OrthancCPlugin.h (`OrthancPluginRegisterTranscoderCallback`).
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from typing import Protocol

from pacs.native import plugin_context

_LOG = logging.getLogger(__name__)
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
_malloc = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_size_t)(("malloc", ctypes.CDLL(None)))


def register_transcoder(transcode: Transcode) -> bool:
    """Have `transcode` asked by Orthanc, from many threads at once; what it raises is a refusal.

    Returns False, with a warning in the log, where Orthanc or its Python plugin are not as known. Call while plugins
    are loaded.
    """
    try:
        plugin_context.register(_REGISTER_TRANSCODER, _CALLBACK(_answering(transcode)))
    except (OSError, LookupError, ValueError) as error:
        _LOG.warning("JPEG 2000 can't be shown or sent in another form: %s", error)
        return False
    return True


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
