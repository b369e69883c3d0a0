"""The part "Pacs.Hl7" of the settings."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_pascal

type PortNumber = Annotated[int, Field(ge=1, le=65535)]
# Stands in metrics, in the names of queues and of mapping files.
type PeerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$")]
type AdtEvent = Annotated[str, Field(pattern=r"^A\d\d$")]

LOOPBACK = "127.0.0.1"
_MEBIBYTE = 2**20


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)


class PeerSettings(_Section):
    """How one system that sends us HL7 messages is recognised, understood, answered and limited."""

    addresses: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description='Addresses or networks it calls from ("10.1.2.3", "10.1.0.0/16"); empty: any.'
    )
    sending_application: str = Field(default="", description="Its MSH-3; empty: any.")
    sending_facility: str = Field(default="", description="Its MSH-4; empty: any.")
    charset: str = Field(
        default="8859/1", min_length=1, description="HL7 name of the character set of messages with an empty MSH-18."
    )
    sniff_utf8: bool = Field(
        default=True, description="Read as UTF-8 what is not ASCII and can only be UTF-8, whatever MSH-18 says."
    )
    acknowledge: Literal["original", "enhanced"] = Field(
        default="original", description="original: AA, AE, AR in MSA-1. enhanced: CA, CE, CR as MSH-15 asks."
    )
    mapping: str = Field(default="", description="Name of its mapping file; empty: the default mapping.")
    largest_message_bytes: int = Field(default=64 * _MEBIBYTE, ge=1024, le=1024 * _MEBIBYTE, description="Larger: AR.")
    message_seconds: float = Field(default=30, gt=0, le=3600, description="A message must be complete within this.")
    idle_seconds: float = Field(default=600, gt=0, description="A silent connection is closed after this.")
    most_connections: int = Field(
        default=64, ge=1, le=200, description="At once; one more, and the one that has been useless longest is closed."
    )

    @field_validator("charset")
    @classmethod
    def _known_charset(cls, label: str) -> str:
        # Imported here: the settings are read by programs that need no HL7.
        from pacs.hl7.charsets import codec_of  # noqa: PLC0415

        if codec_of(label) is None:
            message = 'expected a name of HL7 table 0211, for example "8859/1" or "UNICODE UTF-8"'
            raise ValueError(message)
        return label


class OrdersSettings(_Section):
    """How orders, appointments and patients' messages become entries of the worklist."""

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


class Hl7Settings(_Section):
    """The HL7 v2 interface."""

    port: PortNumber = Field(default=2575, description="TCP port on which HL7 messages (MLLP) are taken.")
    bind: IPv4Address | IPv6Address = Field(
        default=ipaddress.ip_address(LOOPBACK),
        description="Address to listen on. MLLP is not encrypted: beyond loopback put TLS (NGINX) or a VPN before it.",
    )
    proxy_port: PortNumber | None = Field(
        default=None,
        description="Second TCP port, on 127.0.0.1 alone, for an NGINX that takes messages by TLS and passes them on "
        "with the PROXY protocol (version 1), which names the sender's address; null: none.",
    )
    peers: dict[PeerName, PeerSettings] = Field(
        default={}, description="The systems that send to us, by a name of ours; the first that fits counts."
    )
    accept_unknown_peers: bool | None = Field(
        default=None,
        description="Take messages that fit no peer; null: only while Bind is a loopback address without ProxyPort.",
    )
    unknown_peers: PeerSettings = Field(
        default=PeerSettings.model_validate({"MostConnections": 200}),
        description="What holds for those that fit no peer.",
    )
    keep_days: int = Field(
        default=90, ge=1, description="Messages are kept this long; those not settled, until they are."
    )
    most_connections: int = Field(
        default=256, ge=1, le=512, description="Of all peers at once: each costs Orthanc's process a descriptor."
    )
    processing_threads: int = Field(default=2, ge=1, le=8, description="Messages of different patients worked at once.")

    orders: OrdersSettings = OrdersSettings()

    @property
    def takes_unknown_peers(self) -> bool:
        """Whether a message that fits no peer is taken."""
        if self.accept_unknown_peers is None:
            return self.bind.is_loopback and self.proxy_port is None
        return self.accept_unknown_peers
