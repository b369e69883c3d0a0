"""What could not be decoded a moment ago is not tried again at once: each try costs a child process its life."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict

from pacs.errors import ProcessError

_KEPT = 1000
_KEPT_SECONDS = 600.0


class Refusals:
    """The last images that failed, by their content. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._errors: OrderedDict[bytes, tuple[float, ProcessError]] = OrderedDict()

    def find(self, key: bytes) -> ProcessError | None:
        """Return why an image was refused within the last ten minutes."""
        with self._lock:
            moment, error = self._errors.get(key, (0.0, None))
        return error if error is not None and time.monotonic() - moment < _KEPT_SECONDS else None

    def add(self, key: bytes, error: ProcessError) -> None:
        """Keep a refusal; the oldest goes."""
        with self._lock:
            self._errors[key] = time.monotonic(), error
            while len(self._errors) > _KEPT:
                self._errors.popitem(last=False)


def key_of(task: str, dicom: bytes | memoryview) -> bytes:
    """Return what stands for an image and what is asked of it."""
    return hashlib.blake2b(dicom, digest_size=16, person=task.encode()).digest()
