"""The same promise as tests/integration/test_crash_safety.py, with fifty kills: a quarter of an hour each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.crashes import (
    MODALITIES,
    assert_each_is_kept_once,
    assert_our_list_agrees,
    orphans_of,
    send_through_kills,
    small_instances,
)

KILLS = 50
ORPHANS_AT_MOST = KILLS * MODALITIES


@pytest.mark.parametrize("seed", range(3))
def test_nothing_acknowledged_is_lost_or_doubled_in_fifty_kills(tmp_path: Path, seed: int) -> None:
    """Fifty kills in the middle of 10,000 C-STOREs."""
    instances = small_instances(studies=100, instances_each=100)
    pacs, modalities = send_through_kills(tmp_path, instances, KILLS, seed)
    try:
        assert_each_is_kept_once(pacs, instances)
        orphans = orphans_of(pacs, modalities)
        assert orphans.strange == []
        assert len(orphans.of_interrupted) + len(orphans.torn) <= ORPHANS_AT_MOST
        assert_our_list_agrees(pacs, instances)
    finally:
        pacs.stop()
