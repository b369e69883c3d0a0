"""The viewers' build: what it refuses, and that what it built fits together."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

BUILD = Path(__file__).parents[2] / "viewer-config" / "build.py"
VIEWERS = Path("/opt/pacs/viewers")


class Elements(HTMLParser):
    """Collects what a page loads, and the scripts that stand in the page itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline_scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        values = dict(attrs)
        self.addresses += [values[name] or "" for name in ("src", "href") if name in values]
        self.inline_scripts += tag == "script" and "src" not in values


@pytest.fixture
def ohif() -> Path:
    """Return the folder of the built viewer, where it was built."""
    folder = VIEWERS / "ohif"
    if not folder.is_dir():
        pytest.skip(f"the viewers were not built at {VIEWERS}")
    return folder


def build(packages: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Run the build without npm."""
    command = [sys.executable, str(BUILD), "--packages", str(packages), "--output", str(output)]
    return subprocess.run(command, env={"PATH": str(output)}, capture_output=True, text=True, check=False)


def test_build_refuses_a_package_with_another_content(tmp_path: Path) -> None:
    """A tarball that is not the one that was reviewed ends the build in one line that names it, and builds nothing."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "ohif-app-3.13.2.tgz").write_bytes(b"another")
    result = build(tmp_path / "packages", tmp_path / "output")
    assert result.returncode == 1
    assert re.fullmatch(
        r"error: \S+/ohif-app-3\.13\.2\.tgz is not @ohif/app 3\.13\.2: expected sha512-.*\n", result.stderr
    )
    assert not (tmp_path / "output").exists()


def test_build_says_what_is_missing_without_npm(tmp_path: Path) -> None:
    """With no tarball and nothing to fetch it, one line says so."""
    result = build(tmp_path / "packages", tmp_path / "output")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "npm, to fetch it, is not on the PATH" in result.stderr


def test_built_page_loads_only_files_that_exist(ohif: Path) -> None:
    """The viewer's page has no script inside, and each address in it is a file of ours."""
    elements = Elements()
    elements.feed((ohif / "index.html").read_text())
    assert elements.inline_scripts == 0
    assert len(elements.addresses) >= 10
    assert [address for address in elements.addresses if not (VIEWERS / address.removeprefix("/")).is_file()] == []


def test_built_files_and_their_packed_copies_are_the_same(ohif: Path) -> None:
    """What a browser gets packed is what it would get plain."""
    packed = [*ohif.rglob("*.gz")]
    assert len(packed) > 50
    assert [path for path in packed if gzip.decompress(path.read_bytes()) != path.with_suffix("").read_bytes()] == []


def test_built_scripts_keep_no_address_outside_of_the_viewer(ohif: Path) -> None:
    """Every public path and style address was moved below /ohif/."""
    text = "".join(path.read_text() for path in ohif.rglob("*") if path.suffix in {".js", ".css"})
    assert re.findall(r"""__webpack_require__\.p ?= ?["']/["']|\w\.p=["']/["']|url\(/(?!ohif/)""", text) == []
    assert text.count("/ohif/build-") >= 13
