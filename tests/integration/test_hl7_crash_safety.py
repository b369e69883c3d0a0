"""What was acknowledged is done, once and in order, wherever the bridge died: the promise a HIS relies on."""

from __future__ import annotations

import pytest

from fixtures.hl7_crashes import POINTS, assert_nothing_lost_doubled_or_overtaken, send_through_deaths
from pacs.database import Database

pytest_plugins = ("fixtures.postgresql", "fixtures.databases")

NAMES = list(POINTS)
PARTS = {
    "receiving": NAMES[:3] * 2,
    "sorting": NAMES[3:5] * 2 + ["random"],
    "working": NAMES[5:9],
    "working together": NAMES[9:],
}


@pytest.mark.timeout(280)
@pytest.mark.parametrize("points", PARTS.values(), ids=PARTS)
def test_nothing_acknowledged_is_lost_doubled_or_overtaken_when_the_bridge_dies(
    database: Database, database_url: str, points: list[str]
) -> None:
    """Thirty deaths by SIGKILL on both databases, with senders that repeat what was not answered."""
    assert database.name
    senders = send_through_deaths(database_url, points, seed=len(points))
    assert senders.repeated
    assert_nothing_lost_doubled_or_overtaken(database_url, senders)
