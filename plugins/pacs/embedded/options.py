"""What may be chosen for the embedded deployment, by environment variables."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pacs.errors import PacsError

AE_TITLE_MAX_CHARACTERS = 16
LAST_PORT = 65535


class StartError(PacsError):
    """The archive can't start. The message is all that a person gets to see: one line, with what to do."""

    code = "start"


@dataclass(frozen=True)
class Options:
    """The choices, checked.

    Attributes
    ----------
    data_directory : where everything is kept, as seen from inside the root.
    data_directory_outside : the same directory as the person who started us knows it.
    """

    http_port: int
    dicom_port: int
    hl7_port: int
    mpps_port: int
    aet: str
    demo: bool
    data_directory: Path
    data_directory_outside: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Options:
        """Read the PACS_* variables. Raise StartError for the first that can't be used."""
        ports = {
            name: _port(environment, name, default)
            for name, default in (
                ("PACS_HTTP_PORT", 8080),
                ("PACS_DICOM_PORT", 4242),
                ("PACS_HL7_PORT", 2575),
                ("PACS_MPPS_PORT", 11113),
            )
        }
        if len(set(ports.values())) < len(ports):
            listed = ", ".join(f"{name}={port}" for name, port in ports.items())
            raise StartError(f"Two services can't share a port: {listed}.", remedy="Choose different ones.")
        data_directory = environment.get("PACS_DATA_DIR") or "/var/lib/pacs"
        return cls(
            http_port=ports["PACS_HTTP_PORT"],
            dicom_port=ports["PACS_DICOM_PORT"],
            hl7_port=ports["PACS_HL7_PORT"],
            mpps_port=ports["PACS_MPPS_PORT"],
            aet=_ae_title(environment.get("PACS_AET") or "PACS"),
            demo=_switch(environment, "PACS_DEMO", default=True),
            data_directory=Path(data_directory),
            data_directory_outside=environment.get("PACS_DATA_DIR_OUTSIDE") or data_directory,
        )


def require_free_port(name: str, port: int, address: str) -> None:
    """Raise StartError when a port can't be listened on, naming the variable that chooses another."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            raise StartError(
                f"Port {port} needs a right that this account lacks.", remedy=f"Choose one above 1023 with {name}=PORT."
            ) from None
        except OSError:
            raise StartError(
                f"Port {port} is in use.", remedy=f"End what uses it, or choose another with {name}=PORT."
            ) from None


def free_loopback_port() -> int:
    """Return a port that nothing listens on at 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if text.isascii() and text.isdigit() and 1 <= int(text) <= LAST_PORT:
        return int(text)
    raise StartError(f"{name}={text} is no port.", remedy=f"Give a number from 1 to {LAST_PORT}.")


def _switch(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environment.get(name) or str(int(default))
    if text in {"0", "1"}:
        return text == "1"
    raise StartError(f"{name}={text} is neither 0 nor 1.", remedy="Give 1 for yes or 0 for no.")


def _ae_title(text: str) -> str:
    """Return an AE title that DICOM allows (PS3.5 6.2, VR AE)."""
    allowed = text.isascii() and text.isprintable() and "\\" not in text and text == text.strip()
    if text and allowed and len(text) <= AE_TITLE_MAX_CHARACTERS:
        return text
    raise StartError(
        f"PACS_AET={text!r} is no AE title.",
        remedy=f"Give 1 to {AE_TITLE_MAX_CHARACTERS} ASCII characters, without a backslash or spaces at the ends.",
    )
