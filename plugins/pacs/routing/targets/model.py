"""A target: who it is, how it proves what it has, when and how much may be sent to it."""

from __future__ import annotations

import re
from datetime import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
MOST_PARALLEL = 16

type AeTitle = Annotated[str, Field(pattern=r"^[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?$")]


class Proof(StrEnum):
    """How one knows that a target has what it was sent."""

    COMMITMENT = "commitment"  # it takes the responsibility for each instance (DICOM PS3.4 annex J)
    QUERY = "query"  # it is asked for what it has, instance by instance, and that is compared
    NONE = "none"  # it can't be asked: "sent" is all that will ever be known


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(_Part):
    """How a connection is encrypted, and how both sides prove who they are."""

    authorities: Path | None = Field(default=None, description="Certificates (PEM) to trust; without: the system's.")
    certificate: Path | None = Field(default=None, description="Our certificate (PEM), where the other side wants one.")
    key: Path | None = Field(default=None, description="Its private key (PEM); without: in the same file.")
    verify: bool = Field(default=True, description="false: encrypt to whoever answers, an impostor too.")


class Target(_Part):
    """What all targets have."""

    reader: bool = Field(default=False, description="true: an outside reader, who is on the page Outside readers.")
    proof: Proof = Field(default=Proof.QUERY, description="commitment, query or none.")
    proof_within_seconds: float = Field(
        default=600, ge=0, le=7 * 86400, description="What is not there by then, though it was accepted, is sent again."
    )
    parallel: int = Field(default=1, ge=1, le=MOST_PARALLEL, description="Studies that are sent at the same time.")
    kib_per_second: float | None = Field(default=None, gt=0, description="All of it together; without: no limit.")
    window: str | None = Field(default=None, description='When it may be sent to, for example "22:00-06:00".')
    urgent_ignores_window: bool = Field(default=True, description="Urgent studies go at any time.")
    retry_days: float = Field(default=7, gt=0, le=365, description="After this a delivery is a dead letter.")
    failover_after_seconds: float = Field(
        default=600, ge=0, description="Away for longer, its alternatives take over what a rule gives them."
    )
    answer_seconds: float = Field(default=60, ge=0.1, le=3600, description="Silence for longer is a failed try.")

    @field_validator("window")
    @classmethod
    def _is_window(cls, window: str | None) -> str | None:
        if window is not None and not _WINDOW.fullmatch(window):
            message = 'expected two times such as "22:00-06:00"'
            raise ValueError(message)
        return window

    @property
    def hours(self) -> tuple[time, time] | None:
        """Begin and end of the window, over midnight when the end is before the begin; None without one."""
        if self.window is None:
            return None
        begin, end = self.window.split("-")
        return time.fromisoformat(begin), time.fromisoformat(end)


class DicomTarget(Target):
    """Another archive or workstation, by C-STORE."""

    kind: Literal["dicom"]
    modality: str | None = Field(default=None, description="A station of the page of AEs, instead of aet, host, port.")
    aet: AeTitle | None = Field(default=None, description="Its AE title.")
    host: str | None = Field(default=None, min_length=1, description="Its address.")
    port: int = Field(default=104, ge=1, le=65535, description="Its port.")
    calling: AeTitle | None = Field(default=None, description="Our AE title towards it; without: Orthanc's.")
    tls: Tls | None = Field(default=None, description="Encrypt.")
    ask_first: bool = Field(default=False, description="Ask what it has before anything is sent.")

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if self.modality is None and (self.aet is None or self.host is None):
            message = "expected aet and host, or modality: the name of a station"
            raise ValueError(message)
        if self.modality is not None and (self.aet is not None or self.host is not None):
            message = "expected either modality or aet and host, found both"
            raise ValueError(message)
        return self


class _Web(Target):
    url: str = Field(pattern=r"^https?://[^\s?#]+$", description="Its address.")
    user: str | None = Field(default=None, description="Name to sign in with.")
    password: str | None = Field(default=None, description="Write it as ${NAME}: a credential of the service.")
    tls: Tls = Field(default=Tls(), description="Certificates, for https.")
    ask_first: bool = Field(default=True, description="Ask what it has before anything is sent.")

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        # Asking for the port raises ValueError for one that there is not.
        if not urlsplit(url).hostname or urlsplit(url).port == 0:
            message = "expected a name or an address after https://"
            raise ValueError(message)
        return url

    @field_validator("proof")
    @classmethod
    def _has_proof(cls, proof: Proof) -> Proof:
        if proof is Proof.COMMITMENT:
            message = "expected query or none: commitment is of kind dicom"
            raise ValueError(message)
        return proof


class StowTarget(_Web):
    """An archive by DICOMweb: STOW-RS, proven by QIDO-RS. `url` ends where /studies begins."""

    kind: Literal["stow"]
    token: str | None = Field(default=None, description="Bearer token, as ${NAME}.")


class PeerTarget(_Web):
    """Another Orthanc, by its REST API."""

    kind: Literal["peer"]


class FolderTarget(Target):
    """A folder of this server, for example one that is mounted."""

    kind: Literal["folder"]
    path: Path = Field(description="Where study folders are made.")


class SftpTarget(Target):
    """A folder of another server, by SFTP."""

    kind: Literal["sftp"]
    host: str = Field(min_length=1, description="Its address.")
    port: int = Field(default=22, ge=1, le=65535, description="Its port.")
    user: str = Field(min_length=1, description="Name to sign in with.")
    password: str | None = Field(default=None, description="Write it as ${NAME}: a credential of the service.")
    key: Path | None = Field(default=None, description="Private key (OpenSSH) to sign in with.")
    host_key: str = Field(
        pattern=r"^(ssh|ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$",
        description="The server's own key as in known_hosts, without the name: who has another one is an impostor.",
    )
    path: str = Field(default=".", description="Where study folders are made.")


type AnyTarget = Annotated[
    DicomTarget | StowTarget | PeerTarget | FolderTarget | SftpTarget, Field(discriminator="kind")
]
