"""What to make of a series: which tissues, how clean, how many triangles, in which files. A recipe is JSON.

    {"parts": [{"name": "bone", "select": {"kind": "preset", "preset": "bone"}}], "reduce": {"share": 0.9}}

The same volume and the same recipe give the same bytes, so a model can be kept under `Recipe.digest`.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_PARTS = 16
_Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]
_Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]
_Hu = Annotated[float, Field(ge=-1e9, le=1e9)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Preset(StrEnum):
    """A tissue of CT that needs no threshold to be named. `pacs.mesh.tissue.PRESETS` has the HU and their sources."""

    BONE = "bone"
    COMPACT_BONE = "compact-bone"
    SKIN = "skin"
    LUNG = "lung"
    VESSEL = "vessel"
    METAL = "metal"
    TEETH = "teeth"


class Format(StrEnum):
    """A file that can be written."""

    STL = "stl"
    PLY = "ply"
    OBJ = "obj"
    GLB = "glb"
    THREE_MF = "3mf"


class Coordinates(StrEnum):
    """Patient coordinates in mm. LPS: x to the Left, y to Posterior, z to Superior, as DICOM. RAS: x and y negated."""

    LPS = "LPS"
    RAS = "RAS"


class Keep(StrEnum):
    """Which connected pieces of a tissue stay."""

    ALL = "all"
    LARGEST = "largest"


class PresetSelection(_Model):
    """A tissue by its name; refused for what is not in HU."""

    kind: Literal["preset"] = "preset"
    preset: Preset


class WindowSelection(_Model):
    """Real values (HU where the volume has them) from `low` to `high`; a threshold when `high` is None."""

    kind: Literal["window"] = "window"
    low: _Hu
    high: _Hu | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high is not None and self.high <= self.low:
            message = f"high ({self.high}) must be above low ({self.low})."
            raise ValueError(message)
        return self


class OtsuSelection(_Model):
    """All above the threshold that parts the histogram best (Otsu 1979); for MR."""

    kind: Literal["otsu"] = "otsu"


class SegmentSelection(_Model):
    """A segment of a DICOM SEG, by its Segment Number (0062,0004)."""

    kind: Literal["segment"] = "segment"
    number: int = Field(ge=0, le=65535)
    sop_instance_uid: _Uid | None = None


class RoiSelection(_Model):
    """A ROI of an RTSTRUCT, by its ROI Number (3006,0022)."""

    kind: Literal["roi"] = "roi"
    number: int = Field(ge=-(2**31), le=2**31 - 1)
    sop_instance_uid: _Uid | None = None


type Selection = Annotated[
    PresetSelection | WindowSelection | OtsuSelection | SegmentSelection | RoiSelection, Field(discriminator="kind")
]
type MaskSelection = SegmentSelection | RoiSelection


class Part(_Model):
    """One tissue: an object of its own, with name and colour, in every format that knows such."""

    name: _Name = "model"
    color: str = Field(default="#e8dcc3", pattern=r"^#[0-9a-fA-F]{6}$")
    select: Selection

    @property
    def color_rgb(self) -> tuple[int, int, int]:
        """Red, green, blue of sRGB, 0 to 255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


class Box(_Model):
    """A box along the patient's axes: ranges in mm, LPS whatever the coordinates of the file."""

    x_mm: tuple[float, float]
    y_mm: tuple[float, float]
    z_mm: tuple[float, float]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for axis, (low, high) in (("x", self.x_mm), ("y", self.y_mm), ("z", self.z_mm)):
            if not high > low:
                message = f"The box is empty: {axis}_mm is ({low}, {high}), expected (lower, higher)."
                raise ValueError(message)
        return self


class DeviationReduction(_Model):
    """Few triangles, with each piece within `deviation_mm` of what it was, smoothed.

    Specks no longer than twice that may go. Notices tell of these, and if smoothing led farther away.
    """

    deviation_mm: float = Field(gt=0, le=10)


class ShareReduction(_Model):
    """Take away this share of the triangles: 0.9 keeps every tenth."""

    share: float = Field(gt=0, lt=1)


class TrianglesReduction(_Model):
    """At most this many triangles in all parts together."""

    triangles: int = Field(ge=100)


type Reduction = DeviationReduction | ShareReduction | TrianglesReduction


class Recipe(_Model):
    """How a volume becomes a model.

    Attributes
    ----------
    sub_volume : name of one of `pacs.mesh.reading.series.sub_volumes`, where the series holds several.
    box_mm : nothing outside of it is meshed; the model is closed where the box cuts.
    keep, min_volume_mm3 : the pieces of each part that stay; cavities stay with what encloses them.
    close_holes_mm : gaps and pores narrower than this are filled; 0 fills none.
    smooth_iterations : of a windowed sinc filter with pass band 0.1 (Taubin 1996); 0 leaves the isosurface as it is.
    reduce : how triangles are taken away, after smoothing; None keeps all.
    """

    sub_volume: str | None = Field(default=None, max_length=200)
    parts: tuple[Part, ...] = Field(min_length=1, max_length=MOST_PARTS)
    box_mm: Box | None = None
    keep: Keep = Keep.ALL
    min_volume_mm3: float = Field(default=0.0, ge=0)
    close_holes_mm: float = Field(default=0.0, ge=0, le=20)
    smooth_iterations: int = Field(default=25, ge=0, le=100)
    reduce: Reduction | None = None
    coordinates: Coordinates = Coordinates.LPS
    formats: tuple[Format, ...] = Field(default=(Format.STL,), min_length=1, max_length=len(Format))

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            message = f"Each part needs a name of its own, found {names}."
            raise ValueError(message)
        if len(set(self.formats)) < len(self.formats):
            message = f"A format is asked for twice: {[str(one) for one in self.formats]}."
            raise ValueError(message)
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe in its one written form, in hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()
