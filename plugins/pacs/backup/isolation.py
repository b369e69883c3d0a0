"""A network namespace of its own for a scratch Orthanc: what is restored can't send anything to anybody.

Works for an ordinary user where the kernel allows user namespaces; with PrivateNetwork= there is nothing to do.
All that runs inside ends with us: the kernel kills the namespace's first process, and everything in it with it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pacs.backup.errors import BackupError
from pacs.backup.programs import Command

_UNSHARE = ("unshare", "--user", "--map-current-user", "--keep-caps", "--net", "--pid", "--fork", "--kill-child")
_LOOPBACK_UP = ("sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def is_alone() -> bool:
    """Tell whether this process sees no network but its own loopback."""
    return (
        [path.name for path in Path("/sys/class/net").iterdir()] == ["lo"] if Path("/sys/class/net").exists() else False
    )


def alone(command: Command) -> Sequence[str | Path]:
    """Return the command line that gives a command a network of its own. Raise BackupError: the kernel forbids it."""
    if is_alone():
        return list(command)
    trial = [*_UNSHARE, *_LOOPBACK_UP, "true"]
    if shutil.which("unshare") is None or subprocess.run(trial, check=False, capture_output=True).returncode != 0:
        raise BackupError(
            "No network namespace can be made, and a restored Orthanc must not reach anybody.",
            remedy="Allow user namespaces, or run it with PrivateNetwork=yes.",
        )
    return [*_UNSHARE, *_LOOPBACK_UP, *command]
