"""The part "Pacs.Routing" of the settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from pacs.routing.actions.settings import NotifySettings


class RoutingSettings(BaseModel):
    """Where studies are sent, by rules."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)

    enabled: bool = Field(default=True, description="false: nothing is decided and nothing sent.")
    folder: Path = Field(
        default=Path("/var/lib/pacs/routing"),
        description="Folder of rules.yaml, targets.yaml and deidentify.yaml; without them routing does nothing.",
    )
    notify: NotifySettings = Field(
        default=NotifySettings(), description="How rules tell people: the server of mails, the address of links."
    )
    memory_bytes: int = Field(
        default=2 * 2**30, ge=256 * 2**20, description="Memory of one process that converts and sends."
    )
    threads: int = Field(default=2, ge=1, le=32, description="Images that one of these converts at the same time.")
    keep_days: float = Field(
        default=400, ge=1, le=36500, description="Proven deliveries older than this are forgotten; dead letters never."
    )
