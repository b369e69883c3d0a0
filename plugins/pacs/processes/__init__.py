"""Child processes for everything that computes: 3D meshes, video, conversion of images.

Nothing that computes runs inside Orthanc's process: it would hold the interpreter lock, a fault in a C library would
take the archive down, and its memory would stay. A function is run in a child instead:

    pool = ProcessPool(Interpreter(Path("/opt/pacs/venv/bin/python"), (Path("/opt/pacs/plugins"),)), scratch_root)
    result = pool.run(Job(function="pacs.mesh.surface:build", arguments={"level_hu": 300}), on_progress=show)

    def build(arguments: dict[str, Json], progress: Progress) -> Json: ...      # in pacs/mesh/surface.py
"""

from __future__ import annotations

from pacs.processes.cancellation import Cancellation
from pacs.processes.errors import (
    ProcessCancelled,
    ProcessCrashed,
    ProcessFailed,
    ProcessOutOfMemory,
    ProcessStartFailed,
    ProcessTimeout,
)
from pacs.processes.job import ChildFunction, Job, Limits, Progress, ProgressListener
from pacs.processes.launcher import Interpreter
from pacs.processes.pool import PoolPolicy, PoolStatus, ProcessPool

__all__ = [
    "Cancellation",
    "ChildFunction",
    "Interpreter",
    "Job",
    "Limits",
    "PoolPolicy",
    "PoolStatus",
    "ProcessCancelled",
    "ProcessCrashed",
    "ProcessFailed",
    "ProcessOutOfMemory",
    "ProcessPool",
    "ProcessStartFailed",
    "ProcessTimeout",
    "Progress",
    "ProgressListener",
]
