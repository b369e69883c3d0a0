"""What role `orthanc` has apt do around an update: its script in a root of our own, with a systemd that we play."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "roles/orthanc/files/archive-around-updates"
SYSTEMCTL = """\
#!/bin/sh
case "$*" in
*ActiveState*) cat /run/archive ;;
*InvocationID*) cat /run/database ;;
*is-active*) [ "$(cat /run/recovers)" != down ] ;;
*start*) echo "$*" >> /run/calls ;;
esac
"""


class Server:
    """The states that the script asks for, and what it does."""

    def __init__(self, folder: Path) -> None:
        self.run, self.programs = folder / "run", folder / "bin"
        (self.run / "systemd/system").mkdir(parents=True)
        self.programs.mkdir()
        for name, text in {"systemctl": SYSTEMCTL, "runuser": "#!/bin/sh\ncat /run/recovers\n"}.items():
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)
        self.has(archive="active", database="1", recovers="f")

    def has(self, **states: str) -> None:
        """Set states: the archive's, the database's start, and whether it replays its log (t, f) or is down."""
        for name, state in states.items():
            (self.run / name).write_text(f"{state}\n")

    def apt(self, when: str) -> None:
        """Run the script as apt does."""
        places = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", self.run, "/run")
        path = ("--setenv", "PATH", f"{self.programs}:/usr/bin:/bin")
        subprocess.run(["bwrap", "--unshare-user", *places, *path, "--", "sh", SCRIPT, when], check=True)

    def started(self) -> bool:
        """Tell whether the archive was started."""
        return (self.run / "calls").exists()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """Give a server whose archive and database run."""
    return Server(tmp_path)


@pytest.mark.parametrize("state", ["active", "activating"])
def test_archive_that_the_update_stopped_is_started_once(server: Server, state: str) -> None:
    """PostgreSQL is another one afterwards, and answers: the archive is started; a later update does nothing."""
    server.has(archive=state)
    server.apt("before")
    server.has(archive="inactive", database="2")
    server.apt("after")
    assert (server.run / "calls").read_text() == "--no-block start orthanc.service\n"

    server.apt("before")
    server.has(database="3")
    server.apt("after")
    assert (server.run / "calls").read_text().count("start") == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"archive": "inactive"}, {"database": "2"}),
        ({"archive": "failed"}, {"database": "2"}),
        ({}, {"archive": "inactive"}),
        ({}, {"archive": "inactive", "database": "2", "recovers": "t"}),
        ({}, {"archive": "inactive", "database": "2", "recovers": "down"}),
    ],
    ids=[
        "stopped on purpose",
        "failed",
        "stopped meanwhile, no update of PostgreSQL",
        "restore replays",
        "restore moves",
    ],
)
def test_archive_stays_as_it_is_meant_to_be(server: Server, before: dict[str, str], after: dict[str, str]) -> None:
    """What a person or a restore stopped is not started behind their back."""
    server.has(**before)
    server.apt("before")
    server.has(**after)
    server.apt("after")

    assert not server.started()
