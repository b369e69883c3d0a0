"""The part "Pacs.Access" of the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal


class AccessSettings(BaseModel):
    """Whether roles are looked at. What each may do is no setting: see `pacs.access.roles`."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)

    required: bool = Field(
        default=False,
        description="Behind NGINX with a sign-in: everybody may do what the roles in Pacs-Roles allow. "
        "false: nobody signs in and everybody may do everything, for loopback alone.",
    )
