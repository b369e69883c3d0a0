"""Settings of what rules tell people and other systems: "Pacs.Routing.Notify"."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal


class NotifySettings(BaseModel):
    """How mails leave, and the address that links in them begin with."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)

    mail_host: str = Field(default="", description="The server that takes mails; none are sent without one.")
    mail_port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    mail_encryption: str = Field(
        default="starttls", pattern="^(starttls|tls|none)$", description="starttls, tls or none (on this machine only)."
    )
    mail_user: str = Field(default="", description="Name to sign in with; none signs in without.")
    mail_password: str = Field(default="routing-mail", description="Name of the credential that holds the password.")
    mail_from: str = Field(default="pacs@localhost.localdomain", description="Whom mails come from.")
    public_url: str = Field(
        default="", pattern="^(https?://.+)?$", description="Address of the pages, for links; none without one."
    )
