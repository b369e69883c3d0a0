"""What was acknowledged is there after a power cut, which takes away what was written and not synced."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fixtures.crashes import assert_each_is_kept_once, small_instances
from fixtures.running_pacs import running, start
from fixtures.stations import store_all

SYNCED_SIZES_ENTRY = Path(__file__).parents[1] / "fixtures" / "synced_sizes_entry.py"
SUCCESS = 0x0000
IMAGES = 20


def test_index_knows_every_acknowledged_image_after_a_power_cut(tmp_path: Path) -> None:
    """Orthanc's index is cut back to what was synced when the last image was acknowledged; each is there, once."""
    images = small_instances(studies=2, instances_each=IMAGES // 2)
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"PythonScript": str(SYNCED_SIZES_ENTRY)}))
    pacs = start(tmp_path)
    assert store_all(pacs, images) == [SUCCESS] * IMAGES
    pacs.kill()
    settings.unlink()
    os.truncate(tmp_path / "orthanc" / "index-wal", synced_bytes(tmp_path))
    with running(tmp_path) as again:
        assert_each_is_kept_once(again, images)


def synced_bytes(data_directory: Path) -> int:
    """Return how long the log of the index was when it was last synced."""
    noted = data_directory / "synced-bytes"
    return int(noted.read_text()) if noted.exists() else 0
