"""The same promise as tests/integration/test_hl7_crash_safety.py, with two hundred deaths."""

from __future__ import annotations

import random

import pytest

from fixtures.hl7_crashes import POINTS, assert_nothing_lost_doubled_or_overtaken, send_through_deaths
from pacs.database import Database

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

DEATHS_EACH = 50


@pytest.mark.parametrize("seed", range(2))
def test_nothing_acknowledged_is_lost_doubled_or_overtaken_in_fifty_deaths(
    database: Database, database_url: str, seed: int
) -> None:
    """Fifty deaths, half of them at random moments, the others at every named point."""
    assert database.name
    points = (list(POINTS) * DEATHS_EACH)[: DEATHS_EACH // 2] + ["random"] * (DEATHS_EACH // 2)
    random.Random(seed).shuffle(points)
    senders = send_through_deaths(database_url, points, seed)
    assert_nothing_lost_doubled_or_overtaken(database_url, senders)
