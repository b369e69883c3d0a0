"""The faults of Debian's libraries are put right in the process that asks for it, and told where that can't be done."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
WHOLE_STACKS = """
from pacs.native import thread_stacks
print(thread_stacks.give_http_threads_whole_stacks())
(slot,) = thread_stacks._loaded("libcivetweb.so").references("pthread_attr_setstacksize")
called = ctypes.c_void_p.from_address(slot).value
print(called == ctypes.cast(ctypes.CDLL(None).pthread_attr_setscope, ctypes.c_void_p).value)
attributes = (ctypes.c_char * 256)()
libc = ctypes.CDLL(None)
libc.pthread_attr_init(attributes)
ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)(called)(ctypes.addressof(attributes), 102400)
size = ctypes.c_size_t()
libc.pthread_attr_getstacksize(attributes, ctypes.byref(size))
print(size.value >= 2 * 1024 * 1024)
"""


def run(program: str, library: str | None) -> list[str]:
    """Run a program in a process of its own, with `library` loaded as Orthanc has it; return the words it prints."""
    if library is not None:
        try:
            ctypes.CDLL(library)
        except OSError:
            pytest.skip(f"{library} is not installed")
    load = f"import ctypes; ctypes.CDLL({library!r})\n" if library else "import ctypes\n"
    done = subprocess.run(
        [sys.executable, "-c", load + program],
        env={"PYTHONPATH": str(PLUGINS)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_http_threads_get_whole_stacks_when_civetweb_is_loaded() -> None:
    """The library's call that made a stack of 100 KB changes nothing any more."""
    assert run(WHOLE_STACKS, "libcivetweb.so.1") == ["True", "True", "True"]


def test_http_threads_keep_their_stacks_when_civetweb_is_not_loaded() -> None:
    """Elsewhere nothing is written anywhere, and the caller is told."""
    program = "from pacs.native.thread_stacks import *\nprint(give_http_threads_whole_stacks())"
    assert run(program, None) == ["False"]


def test_jpeg_ls_encoder_is_switched_off_when_dcmtk_is_there() -> None:
    """DCMTK's own function takes the encoder back."""
    program = "from pacs.native.jpeg_ls_encoder import *\nprint(switch_off_jpeg_ls_encoder())"
    assert run(program, "libdcmjpls.so.19") == ["True"]
