"""What presets mean, Otsu's threshold and the histogram."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.mesh_sources import volume_of
from pacs.errors import InvalidInput
from pacs.mesh.recipe import OtsuSelection, Preset, PresetSelection, WindowSelection
from pacs.mesh.tissue import PRESETS, histogram, value_range


def _two_tissues() -> np.ndarray:
    random = np.random.default_rng(1)
    values = np.where(random.random((30, 40, 50)) < 0.3, 800, 100) + random.normal(0, 30, (30, 40, 50))
    return values.astype(np.int16)


def test_otsu_lies_between_two_tissues() -> None:
    """Of peaks at 100 and 800 the threshold is in the empty middle."""
    found = value_range(OtsuSelection(), volume_of(_two_tissues(), unit=""))
    assert found.low == pytest.approx(450, abs=40)
    assert found.high is None


def test_histogram_counts_each_voxel_once_in_real_values() -> None:
    """Counts add up to the voxels without padding, and the range is in real values."""
    volume = volume_of(_two_tissues(), intercept=-1000.0)
    found = histogram(volume, 64)
    assert sum(found.counts) == 28 * 38 * 48
    assert -1000 < found.low < -900
    assert -200 < found.low + 64 * found.width < -50
    assert found.low < found.otsu < found.low + 64 * found.width
    assert found.unit == "HU"


def test_histogram_of_one_value_is_no_fault() -> None:
    """An image of one value alone has a histogram, too."""
    found = histogram(volume_of(np.full((5, 6, 7), 3, np.int16)))
    assert sum(found.counts) == 3 * 4 * 5


@pytest.mark.parametrize("preset", list(Preset))
def test_presets_are_for_hounsfield_units(preset: Preset) -> None:
    """Every preset has an end, and none is taken for a magnetic resonance."""
    select = PresetSelection(preset=preset)
    assert value_range(select, volume_of(_two_tissues())) == PRESETS[preset]
    assert (PRESETS[preset].low is None) != (PRESETS[preset].high is None)
    with pytest.raises(InvalidInput, match="Hounsfield"):
        value_range(select, volume_of(_two_tissues(), unit=""))


def test_window_is_taken_as_given() -> None:
    """Both ends of a window are kept."""
    found = value_range(WindowSelection(low=100, high=300), volume_of(_two_tissues(), unit=""))
    assert (found.low, found.high) == (100, 300)
