"""Writes a file of secrets on the machine that runs Ansible, encrypted as it was.

Ansible decrypts what it reads: `copy` would write in clear what was encrypted, and no task knows the vault's password.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.parsing.vault import is_encrypted
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """The task `pacs_vault`: the file `dest` has `content`, for its owner alone to read.

    One that was encrypted is so again, with the password that opens it; `encrypted` of the result says whether it is.
    """

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the file, and return whether it is encrypted."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        path = Path(self._task.args["dest"]).resolve()
        written = self._task.args["content"].encode()
        former = path.read_bytes() if path.exists() else b""
        if is_encrypted(former):
            vault = self._loader._vault  # noqa: SLF001 - what Ansible itself has opened the file with
            _, name, secret = vault.decrypt_and_get_vault_id(former)
            written = vault.encrypt(written, secret=secret, vault_id=name)
        if not self._task.check_mode:
            replace(path, written)
        return result | {"changed": True, "encrypted": is_encrypted(former)}


def replace(path: Path, content: bytes) -> None:
    """Put content in a file's place, whole or not at all."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)
