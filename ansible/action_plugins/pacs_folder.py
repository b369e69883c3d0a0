"""Packs a folder on the control machine; the module of the same name unpacks it on the server.

`copy` asks and sends for every single file: sixty took it a minute, and nearly as long when nothing changed.
"""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The task `pacs_folder`: what is in the folder `src` of this machine is in `dest` on the server, in one message.

    Arguments: `src`, looked for as `copy` looks for it, `dest`, and `validate`, which is asked about each changed file
    (%s). What else is in `dest` stays.
    """

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module says."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        source = Path(self._find_needle("files", self._task.args["src"]))
        arguments = self._task.args | {"archive": base64.b64encode(packed(source)).decode()}
        del arguments["src"]
        return result | self._execute_module("pacs_folder", module_args=arguments, task_vars=task_vars)


def packed(folder: Path) -> bytes:
    """Return a tar archive, packed by xz, of the files in a folder: everybody may read them, root alone write."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                entry = tarfile.TarInfo(str(path.relative_to(folder)))
                entry.size = path.stat().st_size
                with path.open("rb") as content:
                    archive.addfile(entry, content)
    return buffer.getvalue()
