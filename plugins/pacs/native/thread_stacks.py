"""HTTP threads with a whole stack.

Debian 13 builds libcivetweb, Orthanc's HTTP server, with stacks of 100 KB. A JSON body with 400 opening brackets, or
a DICOM file with 60 nested sequences, overflows that and ends Orthanc; so may anything in Python that recurses in C
(json, re, an import) in a REST callback. The size is compiled in. The one thing that can be changed is which function
libcivetweb calls to set it: its reference to `pthread_attr_setstacksize` is pointed at `pthread_attr_setscope`, which
refuses such a value and changes nothing, so that threads get the process's default (LimitSTACK, of which only what is
used takes memory).

Source: pthread_attr_setscope(3).
"""

from __future__ import annotations

import ctypes
import logging

from pacs.native.linkage import LINKAGE_FAULTS, redirect

_LOG = logging.getLogger(__name__)
_LIBRARY = "libcivetweb.so"
_CALLED = "pthread_attr_setstacksize"


def give_http_threads_whole_stacks() -> bool:
    """Let threads that the HTTP server starts from now on have the default stack.

    Returns False, with a warning in the log, where that is not possible: another processor, another civetweb. Call
    while plugins are loaded, which is before Orthanc starts its HTTP server.
    """
    try:
        redirect(_LIBRARY, _CALLED, ctypes.CDLL(None).pthread_attr_setscope)
    except LINKAGE_FAULTS as error:
        _LOG.warning("HTTP threads keep their small stacks, and a deeply nested body can end Orthanc: %s", error)
        return False
    return True
