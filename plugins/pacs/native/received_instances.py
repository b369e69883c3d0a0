"""Orthanc's callback for received instances, given the file where it lies.

The Python plugin (5.0) offers the same callback with a copy of each file, of which a look at the header needs next to
nothing: the copy costs reception more than the look.

Source: OrthancCPlugin.h (`OrthancPluginRegisterReceivedInstanceCallback`).
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable

from pacs.native import plugin_context

_LOG = logging.getLogger(__name__)
_REGISTER_RECEIVED_INSTANCE = 1018
_KEEP_AS_IS, _DISCARD = 1, 3
_READ_ONLY = 0x100
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int32)
_memory_at = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)

# Given a DICOM file, valid during the call only, and Orthanc's number of its origin; tells whether it is kept.
type Judge = Callable[[memoryview, int], bool]


def judge_received_instances(judge: Judge) -> bool:
    """Have `judge` look at each file before Orthanc reads it, from many threads at once. It must not raise.

    Returns False where Orthanc or its Python plugin are not as known. Call while plugins are loaded.
    """

    def answer(_modified: int, dicom: int, size: int, origin: int) -> int:
        return _KEEP_AS_IS if judge(_memory_at(dicom, size, _READ_ONLY), origin) else _DISCARD

    try:
        plugin_context.register(_REGISTER_RECEIVED_INSTANCE, _CALLBACK(answer))
    except (OSError, LookupError, ValueError) as error:
        _LOG.warning("Received files are copied to be judged: %s", error)
        return False
    return True
