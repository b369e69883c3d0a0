"""The house's own rules, kept by a walk through the syntax trees and folders."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PLUGINS = CHECKOUT / "plugins"
TOP_FOLDERS = ("orthanc", "plugins", "ansible", "roles", "monitoring", "viewer-config", "backup", "tests")


def _imported(path: Path) -> set[str]:
    """Return the top-level names of the modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_core_never_imports_orthanc() -> None:
    """Only pacs_entry.py and orthanc_glue/ know Orthanc's embedded module; the core runs anywhere."""
    core = sorted((PLUGINS / "pacs").rglob("*.py"))
    assert len(core) > 50
    assert [str(path) for path in core if {"orthanc", "orthanc_glue"} & _imported(path)] == []


def test_entry_is_where_orthanc_is_imported() -> None:
    """The walk does see an import of Orthanc where one stands."""
    assert "orthanc" in _imported(PLUGINS / "pacs_entry.py")


@pytest.mark.parametrize("name", [*TOP_FOLDERS, "inventory.ini", "README.md"])
def test_top_level_holds_what_was_promised(name: str) -> None:
    """The folders that the project was asked to have are there."""
    assert (CHECKOUT / name).exists()


def test_no_file_shadows_orthanc_module() -> None:
    """A file called orthanc.py on the plugins' path would be imported instead of Orthanc's own module."""
    assert list(PLUGINS.rglob("orthanc.py")) == []


def test_pre_commit_hooks_match_files() -> None:
    """A hook whose pattern matches nothing checks nothing."""
    configuration = (CHECKOUT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    patterns = re.findall(r"files: (\S+)", configuration)
    paths = [str(path.relative_to(CHECKOUT)) for path in PLUGINS.rglob("*") if path.is_file()]
    assert patterns
    assert [pattern for pattern in patterns if not any(re.search(pattern, path) for path in paths)] == []
