"""Files in folders: none is written outside, whatever a sender calls its study and whatever lies in the folder."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath

import pytest

from pacs.routing.senders.content import Content, Source
from pacs.routing.senders.outcome import Journal
from pacs.routing.senders.pace import Pace
from pacs.routing.senders.places import FolderPlace, Placing, is_name
from pacs.routing.senders.proof import Wanted, found_at


@pytest.mark.parametrize("uid", ["", ".", "..", "../1.2", "/etc/cron.d", "1.2/3", "1.2\\3", "1\n2", "-1", "1" * 65])
def test_file_is_refused_when_its_uid_leads_elsewhere(tmp_path: Path, uid: str) -> None:
    """A UID that is none names neither a folder nor a file: the instance is refused, and nothing is written."""
    folder = tmp_path / "out"
    folder.mkdir()
    written = io.StringIO()
    source = Source("", uid, "1.2", "1.3", "1.4", "")
    content = Content(source, memoryview(b"DICM"), uid, "1.2", "1.3", "1.4", "")
    target = {"kind": "folder", "path": str(folder)}
    Placing(target, None).send([source], lambda _sources, _syntaxes: iter([content]), Journal(written))
    assert '"refused"' in written.getvalue()
    assert list(tmp_path.rglob("*")) == [folder]
    assert found_at(target, [Wanted(uid, "1.2", "1.4")]) == set()


def test_uid_names_a_file() -> None:
    """UIDs as they should be are names."""
    assert is_name("1.2.840.10008.1.1")


def test_nothing_is_written_through_a_link_that_lies_in_the_folder(tmp_path: Path) -> None:
    """Who can write to the folder can't have this server write anywhere else by links."""
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (folder / "1.2" / "1.3").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "victim").write_bytes(b"whole")
    place = FolderPlace(folder)
    (folder / "1.2" / "1.3" / "1.4.part").symlink_to(elsewhere / "victim")
    place.put(PurePosixPath("1.2/1.3/1.4.dcm"), memoryview(b"image"), Pace(None))
    assert (folder / "1.2" / "1.3" / "1.4.dcm").read_bytes() == b"image"
    (folder / "9.9").symlink_to(elsewhere)
    with pytest.raises(OSError, match="a link leads out of the folder"):
        place.put(PurePosixPath("9.9/1.3/1.4.dcm"), memoryview(b"image"), Pace(None))
    assert [(path.name, path.read_bytes()) for path in elsewhere.iterdir()] == [("victim", b"whole")]
