#!/usr/bin/python
"""Unpacks what the action of the same name has packed: files of who runs it, root, that everybody may read."""

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
OWNER = (os.geteuid(), os.getegid())


def is_so(path: Path, content: bytes) -> bool:
    """Return whether a file is there with this content, ours and readable for everybody."""
    if path.is_symlink() or not path.is_file():
        return False
    status = path.stat()
    whose = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))
    return whose == (*OWNER, FILE_MODE) and path.read_bytes() == content


def prepare(path: Path, content: bytes, waiting: dict[Path, Path], module: AnsibleModule) -> None:
    """Write what a file will be beside it, and ask the program that knows it; directories are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    waiting[Path(name)] = path
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        # A directory may give its own group to what is made in it.
        os.fchown(descriptor, *OWNER)
        os.fchmod(descriptor, FILE_MODE)
        file.flush()
        os.fsync(descriptor)
    if module.params["validate"]:
        status, said, complaint = module.run_command(module.params["validate"] % shlex.quote(name))
        if status:
            module.fail_json(msg=f"{path.name} is refused, and all files stay as they were: {said}{complaint}")


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
    changed: list[str] = []
    waiting: dict[Path, Path] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(module.params["archive"]))) as archive:
            for entry in archive:
                file = archive.extractfile(entry)
                content = file.read() if file else b""
                if not is_so(destination / entry.name, content):
                    changed.append(entry.name)
                    if not module.check_mode:
                        prepare(destination / entry.name, content, waiting, module)
        # Not before all are taken: a task that fails notifies nobody of those that it had changed already.
        for partial, path in waiting.items():
            partial.replace(path)
    finally:
        for partial in waiting:
            partial.unlink(missing_ok=True)
    module.exit_json(changed=bool(changed), files=changed, diff={"prepared": "".join(f"{name}\n" for name in changed)})


if __name__ == "__main__":
    main()
