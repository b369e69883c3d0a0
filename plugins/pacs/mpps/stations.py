"""Who may report steps: the stations that Orthanc knows, as it holds with searches (DicomAlwaysAllowFind false)."""

from __future__ import annotations

import threading
import time

from pacs.errors import NotFound
from pacs.ports import Archive, Json

_KEPT_SECONDS = 2.0


class Stations:
    """Orthanc's list of AEs, asked again every two seconds at most. Safe to use from any thread.

    Parameters
    ----------
    check_host : an AE title counts only from the address that it is registered with.
    """

    def __init__(self, archive: Archive, *, check_host: bool) -> None:
        self._archive = archive
        self._check_host = check_host
        self._lock = threading.Lock()
        self._known: dict[str, Json] = {}
        self._asked_at = -_KEPT_SECONDS

    def is_registered(self, ae_title: str, address: str) -> bool:
        """Tell whether a station that calls itself so, from this address, is known.

        Raises
        ------
        ArchiveError : Orthanc can't say.
        """
        return any(
            entry["AET"].strip() == ae_title.strip()
            and (not self._check_host or entry["Host"] == address)
            and _has_rights(entry)
            for entry in self._entries().values()
        )

    def _entries(self) -> dict[str, Json]:
        with self._lock:
            if time.monotonic() - self._asked_at > _KEPT_SECONDS:
                self._known = self._archive.get_json("/modalities?expand")
                self._asked_at = time.monotonic()
            return self._known


def _has_rights(entry: Json) -> bool:
    """Tell whether an AE may do anything here: one that comes by TLS alone has no right at its own address."""
    rights = [allowed for name, allowed in entry.items() if name.startswith("Allow") and name != "AllowTranscoding"]
    return not rights or any(rights)


def find_station(archive: Archive, name: str) -> Json:
    """Return what Orthanc knows of an AE by its name there: AET, Host, Port.

    Raises
    ------
    NotFound : there is none of this name.
    """
    try:
        return archive.get_json(f"/modalities/{name}/configuration")
    except NotFound:
        raise NotFound(f'No AE is called "{name}".', remedy="Add it on the page of AEs.") from None
