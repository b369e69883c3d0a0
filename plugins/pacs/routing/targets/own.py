"""The target of our own, by which routing is tried with studies of nobody."""

from __future__ import annotations

from pathlib import Path

from pacs.monitoring.identity import PEER
from pacs.routing.targets.model import FolderTarget

OWN_TARGET = PEER


def own_target(folder: Path) -> FolderTarget:
    """Return it; it keeps what it is sent in `folder`."""
    return FolderTarget(kind="folder", path=folder)
