"""The part "Pacs.Mpps" of the settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

type AeTitle = Annotated[str, Field(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]
type ModalityName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class MppsSettings(BaseModel):
    """What modalities report of their work (MPPS), and whom images that arrived are reported to."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)

    enabled: bool = Field(default=True, description="Whether modalities may report their steps here.")
    port: int = Field(default=11113, ge=1, le=65535, description="TCP port on which modalities report their steps.")
    bind: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for all of this machine.")
    ae_title: AeTitle = Field(default="PACSMPPS", description="AE title that modalities are configured with for MPPS.")
    check_host: bool = Field(
        default=True, description="Registered AE titles are served only from the address they are registered with."
    )
    most_associations: int = Field(default=32, ge=1, le=500, description="Associations at the same time; more wait.")
    idle_seconds: float = Field(default=60, ge=1, le=3600, description="A silent association is closed after this.")
    started_by_images: bool = Field(
        default=True, description="Without MPPS, the first image received means that the step was started."
    )
    completed_by_images: bool = Field(
        default=True, description="Without MPPS, a study that got no image for Orthanc's StableAge is completed."
    )
    forward_to: tuple[ModalityName, ...] = Field(
        default=(), description="Names of AEs (as on the page of AEs) that get every report of a step too."
    )
    notify_availability_to: tuple[ModalityName, ...] = Field(
        default=(), description="Names of AEs that are told when a study's images are available (IAN)."
    )
    retry_days: float = Field(
        default=7, gt=0, le=365, description="How long another system that does not answer is tried again."
    )
