"""The part "Pacs.Hl7.Orders" of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

type AdtEvent = Annotated[str, Field(pattern=r"^A\d\d$")]


class OrdersSettings(BaseModel):
    """How orders, appointments and patients' messages become entries of the worklist."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)

    mapping_folder: Path = Field(
        default=Path("/var/lib/pacs/mappings"),
        description="Folder of the mappings that peers name (NAME.yaml); default.yaml in it is laid over ours.",
    )
    site: str = Field(
        default="pacs",
        min_length=1,
        max_length=64,
        description="Name of this hospital; Study Instance UIDs that no order gives are made of it and the accession "
        "number. Never change it.",
    )
    arrival_events: tuple[AdtEvent, ...] = Field(
        default=("A10",), description="ADT events that tell that a patient has come: today's steps become ARRIVED."
    )
