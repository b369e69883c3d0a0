"""The part "Pacs.Decoding" of the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal


class DecodingSettings(BaseModel):
    """What the child processes that decode JPEG 2000 may take."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)

    processes: int = Field(default=2, ge=1, le=32, description="Images that are decoded at the same time.")
    seconds: float = Field(default=60, ge=1, le=600, description="Time for one image with all its frames.")
    memory_bytes: int = Field(
        default=2 * 2**30, ge=256 * 2**20, description="Memory of one process; an image needs four times its pixels."
    )
