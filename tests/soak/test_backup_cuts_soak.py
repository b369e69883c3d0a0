"""A hundred backups cut at random, as in the short test."""

from __future__ import annotations

from pathlib import Path

from fixtures.backup_cuts import cut_at_random, everything_is_at_the_place, only_the_append_only_place
from fixtures.backup_sites import backup_site

CUTS = 100


def test_a_hundred_cuts_damage_nothing(tmp_path: Path) -> None:
    """Killed, the link pulled, a disk full, a hundred times: all repositories are whole, all files are there."""
    with backup_site(tmp_path) as site:
        only_the_append_only_place(site)
        for number in range(CUTS):
            cut_at_random(site, number)
        everything_is_at_the_place(site, "clinic")
