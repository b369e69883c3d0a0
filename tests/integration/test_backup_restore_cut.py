"""A restore of the database that is killed, wherever, and called again: it ends well, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.backup_sites import BackupSite, backup_site, images

# Kills itself before the n-th step that changes what stands where.
CUT = """
import os, sys
from pathlib import Path
from pacs.backup import programs
from pacs.backup.__main__ import main
left, beside = int(sys.argv[1]), sys.argv[2]

def step(work, is_one):
    def counted(*given, **named):
        global left
        if is_one(given):
            if left == 0:
                os.kill(os.getpid(), 9)
            left -= 1
        return work(*given, **named)
    return counted

def is_restore(given):
    if "pgbackrest" in given[0] and "restore" in given[0]:
        if left == 0:
            (Path(beside) / "PG_VERSION").write_text("17")
        return True

Path.rename = step(Path.rename, lambda given: given[0].is_dir())
Path.mkdir = step(Path.mkdir, lambda given: str(given[0]) == beside)
programs.run = step(programs.run, is_restore)
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackupSite]:
    """Give an archive with its backups, stopped."""
    folder = tmp_path_factory.mktemp("backup")
    with backup_site(folder) as made:
        made.store(images(folder, study="kept", slices=2))
        for words in (("database", "full"), ("files",), ("ship",)):
            assert made.command(*words) == 0
        made.orthanc.stop()
        made.cluster.stop()
        yield made


# A folder beside, pgBackRest, with a place the repository aside and the fetched in, the cluster aside, the new one in.
@pytest.mark.parametrize(("options", "steps"), [((), 4), (("--place", "clinic"), 6)])
def test_restore_that_was_killed_goes_on_when_it_is_called_again(
    site: BackupSite, options: tuple[str, ...], steps: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a kill -9 before each step: the plan is told, the next run ends, and each former cluster is kept, whole."""
    cluster, repository = site.site().settings.database.cluster, site.site().settings.database.repository
    for number in range(steps):
        before = whole_ones(cluster), list(repository.parent.glob("pgbackrest.2*"))
        killed = [*site.words("restore", "database", "--do", *options)[3:]]
        beside = str(cluster.with_name(f"{cluster.name}.restored"))
        done = subprocess.run([sys.executable, "-c", CUT, str(number), beside, *killed], check=False)
        assert done.returncode == -signal.SIGKILL
        assert site.command("restore", "database", "--plan", *options) == 0
        assert site.command("restore", "database", "--do", *options) == 0
        assert len(whole_ones(cluster)) == len(before[0]) + 1
        assert set(cluster.parent.glob("data*")) == set(whole_ones(cluster))
        more = [path for path in repository.parent.glob("pgbackrest.2*") if path not in before[1]]
        assert [(path / "backup").is_dir() for path in more] == [True] * len(more)
    assert "cut has moved" in capsys.readouterr().out
    assert not (site.folder / "state" / "restore.json").exists()
    site.cluster.start()
    site.orthanc.start()
    assert len(site.orthanc.archive.get_json("/instances")) == 2
    site.orthanc.stop()
    site.cluster.stop()


def test_restore_that_fails_changes_nothing(site: BackupSite) -> None:
    """Of a repository that lacks a piece the cluster is not restored: the former stays where it is, alone."""
    settings = site.site().settings.database
    before = set(settings.cluster.parent.iterdir())
    bundles = [path for path in settings.repository.glob("backup/main/2*/bundle/*") if path.is_file()]
    assert bundles
    for path in bundles:
        path.rename(path.with_suffix(".away"))
    try:
        assert site.command("restore", "database", "--do") != 0
        assert set(settings.cluster.parent.iterdir()) == before
        assert (settings.cluster / "global" / "pg_control").exists()
    finally:
        for path in bundles:
            path.with_suffix(".away").rename(path)


def whole_ones(cluster: Path) -> list[Path]:
    """Return the cluster and those that were moved aside, as far as PostgreSQL could run on them."""
    return [path for path in cluster.parent.glob(f"{cluster.name}*") if (path / "global" / "pg_control").exists()]
