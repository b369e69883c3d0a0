"""The part "Pacs.Outbound" of the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_pascal

from pacs.hl7.outbound.kinds import EventKind
from pacs.hl7.outbound.layout import VERSIONS, MessageType

type DestinationName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$")]


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)


class TlsSettings(_Section):
    """How a connection is encrypted, and how both sides prove who they are."""

    authorities: Path | None = Field(default=None, description="Certificates (PEM) to trust; null: the system's.")
    certificate: Path | None = Field(default=None, description="Our certificate (PEM), where the other side wants one.")
    key: Path | None = Field(default=None, description="Its private key (PEM); null: in the same file.")
    server_name: str = Field(default="", description="Name in the other side's certificate; empty: Host.")
    verify: bool = Field(
        default=True,
        description="false: encrypt to whoever answers, an impostor too. Only to find out what a certificate lacks.",
    )

    @model_validator(mode="after")
    def _has_certificate_of_key(self) -> Self:
        if self.key is not None and self.certificate is None:
            message = "expected Certificate beside Key: the key alone proves nothing"
            raise ValueError(message)
        return self


class DestinationSettings(_Section):
    """A system that is told what happens to orders."""

    host: str = Field(min_length=1, description="Its address.")
    port: int = Field(ge=1, le=65535, description="Its TCP port (MLLP).")
    tls: TlsSettings | None = Field(default=None, description="Encrypt with TLS; null: don't.")
    message: MessageType = Field(
        default=MessageType.ORM_O01,
        description="Type of message about steps of an order: ORM_O01, OMG_O19, OMI_O23, ORU_R01.",
    )
    result_message: MessageType = Field(
        default=MessageType.ORU_R01, description="Type of message about studies and reports that were stored."
    )
    version: Literal["2.3.1", "2.4", "2.5", "2.5.1"] | None = Field(
        default=None, description="HL7 version; null: 2.3.1 for ORM_O01 and 2.5.1 for the others, as IHE has it."
    )
    events: tuple[EventKind, ...] = Field(default=tuple(EventKind), description="What it is told.")
    receiving_application: str = Field(default="", description="MSH-5.")
    receiving_facility: str = Field(default="", description="MSH-6.")
    charset: str = Field(
        default="UNICODE UTF-8", description="MSH-18. What it can't write is sent as UNICODE UTF-8 instead, unchanged."
    )
    processing_id: Literal["P", "T", "D"] = Field(default="P", description="MSH-11: production, training, debugging.")
    link: Literal["RP", "ST", "none"] = Field(
        default="RP", description="Type of the OBX with the address that opens the study in the viewer."
    )
    answer_seconds: float = Field(default=30, ge=0.1, le=600, description="Silence for longer is a failed try.")
    retry_days: float = Field(default=7, gt=0, le=365, description="After this it becomes a dead letter.")
    refusal_holds_patient: bool = Field(
        default=False, description="A refused message holds up later ones of its patient until a person decides."
    )
    connections: int = Field(default=1, ge=1, le=8, description="At once; messages of a patient stay in order.")

    @field_validator("charset")
    @classmethod
    def _known_charset(cls, label: str) -> str:
        from pacs.hl7.charsets import codec_of  # noqa: PLC0415 (settings are read by programs that need no HL7)

        if codec_of(label) is None:
            message = "expected an HL7 name of a character set (table 0211), for example UNICODE UTF-8 or 8859/1"
            raise ValueError(message)
        return label

    @model_validator(mode="after")
    def _has_versions(self) -> Self:
        for message in (self.message, self.result_message):
            if self.version is not None and self.version not in VERSIONS[message]:
                known = ", ".join(VERSIONS[message])
                fault = f"{message} is known in the versions {known}, not in {self.version}"
                raise ValueError(fault)
        return self

    def version_of(self, message: MessageType) -> str:
        """Return the HL7 version in which a message is written."""
        return self.version or ("2.3.1" if message is MessageType.ORM_O01 else "2.5.1")


class OutboundSettings(_Section):
    """Messages to the hospital's systems about what happens to their orders."""

    sending_application: str = Field(default="PACS", min_length=1, description="MSH-3.")
    sending_facility: str = Field(default="", description="MSH-4.")
    link: str = Field(
        default="http://127.0.0.1:8080/ohif/viewer?StudyInstanceUIDs={StudyInstanceUID}",
        pattern=r"^https?://\S*\{StudyInstanceUID\}\S*$",
        description="Address that opens a study, as the physicians' browsers know it.",
    )
    time_zone: str = Field(default="", description='IANA name such as "America/Asuncion"; empty for the server\'s own.')
    destinations: dict[DestinationName, DestinationSettings] = Field(
        default={}, description="The systems that are told, by a name of ours."
    )
