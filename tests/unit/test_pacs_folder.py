"""`pacs_folder`, by which the playbooks bring a folder of files onto the server, run by Ansible as the roles run it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
REFUSES_BAD = "sh -c '! grep -q bad \"$0\"' %s"


@dataclass
class Folder:
    """What is to be brought, and where to."""

    source: Path
    there: Path

    def bring(self, *options: str, **arguments: str) -> str:
        """Run the task; return what Ansible said."""
        task = {"name": "Bring", "pacs_folder": {"src": str(self.source), "dest": str(self.there), **arguments}}
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
        playbook = self.source.with_suffix(".yml")
        playbook.write_text(yaml.safe_dump([play]))
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", str(playbook), *options],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"ANSIBLE_NOCOLOR": "1"},
            umask=0o077,
        )
        return done.stdout + done.stderr

    def found(self) -> dict[str, str]:
        """Return the files that are there, partial ones too."""
        files = (path for path in self.there.rglob("*") if path.is_file())
        return {str(path.relative_to(self.there)): path.read_text() for path in files}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Give a folder with a file in it and one further down."""
    made = Folder(tmp_path / "source", tmp_path / "there")
    (made.source / "down").mkdir(parents=True)
    (made.source / "one").write_text("one")
    (made.source / "down" / "two").write_text("two")
    return made


def test_folder_is_brought_once(folder: Folder) -> None:
    """All files are there and readable for everybody; a dry run tells it and writes nothing, a second run is none."""
    told = folder.bring("--check", "--diff")
    assert "changed=1" in told
    assert "down/two" in told
    assert not folder.there.exists()

    assert "changed=1" in folder.bring()
    assert folder.found() == {"one": "one", "down/two": "two"}
    assert {path.stat().st_mode & 0o777 for path in folder.there.rglob("*") if path.is_file()} == {0o644}
    assert (folder.there / "down").stat().st_mode & 0o777 == 0o755

    assert "changed=0" in folder.bring()


def test_what_was_changed_there_is_brought_again(folder: Folder) -> None:
    """Other content, other rights, and a link in a file's place, whose target stays; what else is there stays."""
    folder.bring()
    elsewhere = folder.there / "elsewhere"
    elsewhere.write_text("another's")
    for change in (
        lambda: (folder.there / "one").write_text("two"),
        lambda: (folder.there / "one").chmod(0o666),
        lambda: ((folder.there / "one").unlink(), (folder.there / "one").symlink_to(elsewhere)),
    ):
        change()
        assert "changed=1" in folder.bring()
        assert not (folder.there / "one").is_symlink()
        assert (folder.there / "one").stat().st_mode & 0o777 == 0o644
        assert folder.found() == {"one": "one", "down/two": "two", "elsewhere": "another's"}


def test_refused_file_leaves_all_as_they_were(folder: Folder) -> None:
    """A task that fails notifies nobody: a file that it had changed before would never come into force."""
    folder.bring()
    (folder.source / "down" / "two").write_text("newer")
    (folder.source / "one").write_text("bad")

    told = folder.bring(validate=REFUSES_BAD)

    assert "failed=1" in told
    assert "one is refused" in told
    assert folder.found() == {"one": "one", "down/two": "two"}
    (folder.source / "one").write_text("better")
    assert "changed=1" in folder.bring(validate=REFUSES_BAD)
    assert folder.found() == {"one": "better", "down/two": "newer"}
