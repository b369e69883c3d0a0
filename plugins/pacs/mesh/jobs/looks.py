"""What a series holds, as children tell it: apart, so that they import nothing else of the jobs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

# Whoever makes a model needs the volume, what is found in it, and the program itself (design of the pipeline).
MODEL_SHARE_OF_VOLUME = 1.6
MODEL_BASE_BYTES = 150 * 2**20


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SubVolumeLook(_Model):
    """One of the volumes in a series."""

    name: str
    count: int
    description: str


class RegionLook(_Model):
    """A segment or region that can be made into a part; `kind` and `number` select it in a recipe."""

    kind: str
    number: int
    name: str
    color: str | None
    sop_instance_uid: str


class SeriesLook(_Model):
    """What a series holds, told by its headers.

    Attributes
    ----------
    volume_bytes, shape : of the volume when it is read: (slices, rows, columns), padding included.
    images : SeriesInstanceUID that contours were drawn on, of an RTSTRUCT.
    """

    modality: str
    sub_volumes: tuple[SubVolumeLook, ...]
    regions: tuple[RegionLook, ...]
    volume_bytes: int
    shape: tuple[int, int, int]
    images: str | None = None

    @property
    def needed_bytes(self) -> int:
        """Memory that a model of it needs."""
        return int(MODEL_SHARE_OF_VOLUME * self.volume_bytes) + MODEL_BASE_BYTES
