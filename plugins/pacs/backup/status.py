"""What the status files tell, read by pages, metrics and `status`; nobody needs the backup's rights for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pacs.backup.runs import STATUS, read_status


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every status by its name: KIND, or KIND.PLACE; {} where there is no backup."""
    found = {path.name.removesuffix(".json"): read_status(path) for path in sorted((folder / STATUS).glob("*.json"))}
    return {name: one for name, one in found.items() if one}
