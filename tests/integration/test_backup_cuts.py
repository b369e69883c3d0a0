"""Backups cut at any moment, in every way: the next one does all the work, and nothing at the place is damaged."""

from __future__ import annotations

from pathlib import Path

from fixtures.backup_cuts import cut_at_random, everything_is_at_the_place, only_the_append_only_place
from fixtures.backup_sites import backup_site

CUTS = 10


def test_backup_that_was_cut_is_whole_after_the_next(tmp_path: Path) -> None:
    """Killed, the link pulled, a disk full, ten times at random: all repositories are whole, all files are there."""
    with backup_site(tmp_path) as site:
        only_the_append_only_place(site)
        outcomes = [cut_at_random(site, number) for number in range(CUTS)]
        assert set(outcomes) != {"not cut"}
        everything_is_at_the_place(site, "clinic")
