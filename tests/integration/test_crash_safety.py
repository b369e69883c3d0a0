"""What was acknowledged is there after Orthanc was killed: the promise on which modalities erase their copy."""

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

KILLS = 5
# A file and its index entry are made one after the other: what a kill may leave behind is one file a modality.
ORPHANS_AT_MOST = KILLS * MODALITIES


@pytest.mark.timeout(240)
def test_nothing_acknowledged_is_lost_or_doubled_when_orthanc_is_killed(tmp_path: Path) -> None:
    """Five kills within 1,000 C-STOREs: each image is there once, byte for byte; index, files and our list agree."""
    instances = small_instances(studies=10, instances_each=100)
    pacs, modalities = send_through_kills(tmp_path, instances, KILLS, seed=1)
    try:
        assert_each_is_kept_once(pacs, instances)
        orphans = orphans_of(pacs, modalities)
        assert orphans.strange == []
        assert len(orphans.of_interrupted) + len(orphans.torn) <= ORPHANS_AT_MOST
        assert_our_list_agrees(pacs, instances)
    finally:
        pacs.stop()
