"""A target as the child is told of it: where it is, who we are to it, at which speed."""

from __future__ import annotations

import socket
import time
from typing import Any
from urllib.parse import urlsplit

from pacs.errors import NotFound
from pacs.ports import Archive, Json
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.targets.model import DicomTarget, Target, Tls

_KNOCK_SECONDS = 3.0
_AET_KEPT_SECONDS = 300.0
_KIB = 1024


class Stations:
    """Tells who a target is, and knocks at it. Safe to use from any thread."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._own_aet = ("", 0.0)

    def argument(self, name: str, target: Target) -> dict[str, Json]:
        """Return what the child is told of a target.

        Raises
        ------
        SendingFault : the station that it names is none of this archive's.
        ArchiveError : Orthanc can't be asked.
        """
        told: dict[str, Any] = target.model_dump(mode="json")
        if target.kib_per_second is not None:
            told["bytes_per_second"] = target.kib_per_second * _KIB / target.parallel
        if isinstance(target, DicomTarget):
            told["calling"] = target.calling or self._aet()
            if target.modality is not None:
                told |= self._modality(name, target.modality, target.tls)
        return told

    def knock(self, argument: Json) -> None:
        """Open a connection and close it: a target that is away takes no child process.

        Raises
        ------
        SendingFault : nobody is there.
        """
        where = _address(argument)
        if where is None:
            return
        try:
            socket.create_connection(where, timeout=_KNOCK_SECONDS).close()
        except OSError as error:
            raise SendingFault(
                FaultKind.AWAY,
                f"{where[0]}:{where[1]}: {error.strerror or error}.",
                remedy="Check that it runs, its address and port, and the firewalls between.",
            ) from error

    def _aet(self) -> str:
        title, until = self._own_aet
        if time.monotonic() >= until:
            title = str(self._archive.get_json("/system")["DicomAet"])
            self._own_aet = (title, time.monotonic() + _AET_KEPT_SECONDS)
        return title

    def _modality(self, name: str, modality: str, tls: Tls | None) -> dict[str, Json]:
        try:
            station = self._archive.get_json(f"/modalities/{modality}/configuration")
        except NotFound:
            raise SendingFault(
                FaultKind.OURS,
                f"Target {name} is the station {modality}, which this archive does not know.",
                remedy="Add it on the page of AEs, or correct targets.yaml.",
            ) from None
        told = {"aet": station["AET"], "host": station["Host"], "port": station["Port"]}
        if station.get("UseDicomTls") and tls is None:
            # Never in the clear; whose certificates to trust stands below `tls:` where it is not the system's.
            told["tls"] = Tls().model_dump(mode="json")
        return told | ({"calling": station["LocalAet"]} if station.get("LocalAet") else {})


def _address(argument: Json) -> tuple[str, int] | None:
    if "url" in argument:
        url = urlsplit(argument["url"])
        return url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    return (argument["host"], argument["port"]) if argument.get("host") else None
