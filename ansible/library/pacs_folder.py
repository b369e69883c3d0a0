#!/usr/bin/python
"""Unpacks what the action of the same name has packed. The files are root's, and everybody may read them."""

from __future__ import annotations

import base64
import io
import os
import shlex
import stat
import tarfile
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

FILE_MODE, DIRECTORY_MODE = 0o644, 0o755


def is_so(path: Path, content: bytes) -> bool:
    """Return whether a file is there with this content, root's and readable for everybody."""
    if path.is_symlink() or not path.is_file():
        return False
    status = path.stat()
    whose = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
    return whose == (0, 0, FILE_MODE) and path.read_bytes() == content


def write(path: Path, content: bytes, module: AnsibleModule) -> None:
    """Put a file in its place in one step, after the program that knows it has taken it; directories are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(descriptor, FILE_MODE)
        file.flush()
        os.fsync(descriptor)
    if module.params["validate"]:
        status, said, complaint = module.run_command(module.params["validate"] % shlex.quote(partial))
        if status:
            Path(partial).unlink()
            module.fail_json(msg=f"{path.name} is refused and what was there stays: {said}{complaint}")
    Path(partial).replace(path)


def main() -> None:
    """Write what differs, and say which files that were."""
    module = AnsibleModule(
        # (no_log: it would stand in the journal.)
        argument_spec={
            "archive": {"required": True, "no_log": True},
            "dest": {"type": "path", "required": True},
            "validate": {},
        },
        supports_check_mode=True,
    )
    destination = Path(module.params["dest"])
    os.umask(0o777 & ~DIRECTORY_MODE)
    changed = []
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(module.params["archive"]))) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            content = file.read() if file else b""
            if not is_so(destination / entry.name, content):
                changed.append(entry.name)
                if not module.check_mode:
                    write(destination / entry.name, content, module)
    module.exit_json(changed=bool(changed), files=changed, diff={"prepared": "".join(f"{name}\n" for name in changed)})


if __name__ == "__main__":
    main()
