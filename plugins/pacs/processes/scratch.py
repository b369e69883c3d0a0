"""Folders for the temporary files of children, gone when the child is gone, even after a crash of the parent."""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)


class Scratch:
    """One parent's folder below `root`; each child gets a folder in it as its working and temporary folder.

    A lock file (flock) beside the folder says that its parent lives; the kernel gives it up whatever way the
    parent ends. What dead parents left is removed when the next one starts. Safe with several parents.

    Parameters
    ----------
    root : made if missing, readable by nobody else: temporary files may hold patient data.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._remove_leftovers(root)
        self._lock_path, self._lock = _locked_file(root)
        self.folder = self._lock_path.with_suffix("")
        self.folder.mkdir(mode=0o700)

    def new_folder(self) -> Path:
        """Make the folder of one child."""
        return Path(tempfile.mkdtemp(prefix="child-", dir=self.folder))

    def close(self) -> None:
        """Remove everything. May be called twice."""
        if self._lock < 0:
            return
        remove_tree(self.folder)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1

    @staticmethod
    def _remove_leftovers(root: Path) -> None:
        for lock_path in root.glob("parent-*.lock"):
            with suppress(FileNotFoundError), lock_path.open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                remove_tree(lock_path.with_suffix(""))
                lock_path.unlink(missing_ok=True)


def _locked_file(root: Path) -> tuple[Path, int]:
    """Make and lock a lock file; again if a parent that cleans up took it between the two steps."""
    while True:
        path = root / f"parent-{os.getpid()}-{secrets.token_hex(4)}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return path, descriptor
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove `folder` with all it holds; what can't be removed is logged, the next start tries again."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as fault:
        _log.warning("Temporary files are left behind", extra={"folder": str(folder), "reason": fault.strerror})
