"""What to mesh: presets of tissues, Otsu's threshold, and the histogram to choose by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacs.errors import InvalidInput
from pacs.mesh.recipe import OtsuSelection, Preset, PresetSelection, WindowSelection
from pacs.mesh.volume import Volume

# More voxels than this tell nothing new about a distribution.
_MOST_COUNTED = 8_000_000
_BINS = 256


@dataclass(frozen=True)
class ValueRange:
    """Real values from `low` to `high`; None is no end.

    Attributes
    ----------
    is_enclosed : leave out what touches the sides of the images, as the air around the patient does.
    """

    low: float | None = None
    high: float | None = None
    is_enclosed: bool = False


PRESETS: dict[Preset, ValueRange] = {
    Preset.BONE: ValueRange(low=226),
    Preset.COMPACT_BONE: ValueRange(low=662),
    Preset.SKIN: ValueRange(low=-300),
    Preset.LUNG: ValueRange(high=-500, is_enclosed=True),
    Preset.VESSEL: ValueRange(low=150),
    Preset.METAL: ValueRange(low=2500),
    Preset.TEETH: ValueRange(low=1200),
}
"""HU of each tissue. All depend on kernel, tube voltage and slice thickness: a preset is where to start from.

bone : 226, the lower end for bone of adults in Mimics (Materialise), with which most models in the literature were
    made; spongy bone has 50 to 300 HU (Prokop, Spiral and Multislice CT of the Body, 2003), so thin walls and
    osteoporotic bone need less.
compact-bone : 662, where Mimics parts compact bone of adults from spongy bone (148 to 661 HU).
skin : -300, between air (-1000 HU) and skin and fat (-120 to 40 HU), above the half so that cloth and the table's foam
    stay out.
lung : below -500, halfway between lung (-850) and the chest wall (Hu, Hoffman, Reinhardt, IEEE Trans Med Imaging 2001;
    20:490-498 find the optimum near there); airways are part of it, the air around the patient is not.
vessel : 150, halfway between blood (45 HU, Prokop) and the 250 to 300 HU that an angiography aims at; bone is above it
    too, so it wants a box or the largest piece.
metal : 2500, above enamel and cortical bone; the 12 bit scale ends at 3071 HU, where steel and gold are cut off.
    Titanium may be less in thin parts.
teeth : 1200, above jaw bone, at the lower end of dentine (enamel begins near 1550 HU in Mimics); fillings are above it,
    too.
"""


@dataclass(frozen=True)
class Histogram:
    """How often each value is in a volume: `counts[i]` voxels from `low + i * width` on, in `unit`."""

    low: float
    width: float
    counts: tuple[int, ...]
    otsu: float
    unit: str


def value_range(select: PresetSelection | WindowSelection | OtsuSelection, volume: Volume) -> ValueRange:
    """Return the real values that a selection means in `volume`.

    Raises
    ------
    InvalidInput : a preset for a volume that is not in HU.
    """
    if isinstance(select, WindowSelection):
        return ValueRange(select.low, select.high)
    if isinstance(select, OtsuSelection):
        return ValueRange(low=histogram(volume).otsu)
    if volume.unit != "HU":
        raise InvalidInput(
            f"The preset {select.preset} is in Hounsfield units, this series ({volume.modality}) is not.",
            remedy="Choose a threshold of your own, or Otsu.",
        )
    return PRESETS[select.preset]


def histogram(volume: Volume, bins: int = _BINS) -> Histogram:
    """Count the voxels of `volume` in `bins` classes of equal width; padding left out, large volumes sampled evenly.

    The range holds all but a thousandth of the voxels at each end, which are counted in the first and last class.
    """
    values = _sample(volume).astype(np.float64) * volume.slope + volume.intercept
    low, high = (float(end) for end in np.quantile(values, (0.001, 0.999)))
    if high <= low:
        low, high = float(values.min()), float(values.max()) + 1.0
    counts, edges = np.histogram(np.clip(values, low, high), bins, (low, high))
    return Histogram(low, (high - low) / bins, tuple(counts.tolist()), otsu(counts, edges), volume.unit)


def otsu(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> float:
    """Return the threshold that separates two classes best: N. Otsu, IEEE Trans SMC 1979; 9:62-66.

    Where several are as good, as between two peaks with nothing between them, the middle of these.
    """
    centers = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    sum_below = np.cumsum(counts * centers)[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = sum_below / below - ((counts * centers).sum() - sum_below) / above
        between = np.nan_to_num(below * above * difference**2)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(edges[1:-1][best].mean())


def _sample(volume: Volume) -> NDArray[np.generic]:
    inner = volume.voxels[1:-1, 1:-1, 1:-1]
    step = 1
    while inner.size // step**3 > _MOST_COUNTED:
        step += 1
    return inner[::step, ::step, ::step]
