"""The places that backups go to: that each is one, and that the firewall lets backups out to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pacs_checks.faults import Fault, Path_
from pacs_checks.hospital import address_fault, dictionaries
from pacs_checks.variables import Variables

NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
PORT = r"(:([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
HOST = rf"([^\s/@:\[\]]+|\[[0-9A-Fa-f:]+\]){PORT}"
# How an address is written, and the same in words; pacs.backup.settings takes these, and HTTP, too.
ADDRESSES = {
    "disk": ("/.*", "/FOLDER"),
    "rest": (rf"rest:https://([^/]*@)?{HOST}(/.*)?", "rest:https://HOST:PORT/FOLDER"),
    "sftp": (
        rf"sftp:([^\s/@:]+@)?([^\s/@:]+:[^:]+|//([^\s/@:]+@)?{HOST}/.+)",
        "sftp:USER@HOST:/FOLDER or sftp://USER@HOST:PORT//FOLDER",
    ),
    "s3": (rf"s3:https://{HOST}/.+", "s3:https://HOST/BUCKET"),
}
SSH_PORT = 22
HTTPS_PORT = 443


def check_backups(variables: Variables) -> Iterator[Fault]:
    """Check every place of backup_places."""
    names: dict[str, int] = {}
    for index, place in enumerate(dictionaries(variables.get("backup_places"))):
        path: Path_ = ("backup_places", index)
        name, kind, url = str(place.get("name")), place.get("kind"), str(place.get("url", ""))
        if not NAME.fullmatch(name):
            yield Fault((*path, "name"), f"{name!r} is no name", "Begin with a letter; then a-z, 0-9 and _.")
        elif name in names:
            yield Fault((*path, "name"), f"{name} is also place {names[name] + 1}'s", "Each needs its own.")
        names.setdefault(name, index)
        pattern, words = ADDRESSES.get(str(kind), ("", ""))
        if words and not re.fullmatch(pattern, url):
            yield Fault(
                (*path, "url"),
                f"found {url!r}, expected {words}",
                "Secrets do not stand in it: they go into the vault." if "@" in url else "Write it in full.",
            )
        elif kind == "rest" and "@" in urlsplit(url.removeprefix("rest:")).netloc:
            yield Fault((*path, "url"), "it holds a login", "Write it into vault_backup_places in vault.yml.")
        elif kind in {"rest", "sftp", "s3"}:
            yield from _check_way(path, place, url)
        if place.get("write_only") and not place.get("append_only"):
            yield Fault(
                (*path, "write_only"), "it can be erased but not read", "A write-only place is append_only as well."
            )


def _check_way(path: Path_, place: dict[str, Any], url: str) -> Iterator[Fault]:
    """Find a place that the firewall does not let backups out to."""
    kind, port = place.get("kind"), place.get("port")
    asked = _port_of(str(kind), url)
    if "address" in place:
        yield from address_fault((*path, "address"), place["address"])
        if port != asked:
            yield Fault((*path, "port"), f"found {port!r}, but {url} is at port {asked}", f"Write port: {asked}.")
    elif asked != HTTPS_PORT:
        yield Fault(
            path,
            f"backups are to go to {url}, port {asked}, where the firewall lets none",
            "Write its IP address and its port beside it: address, port.",
        )


def _port_of(kind: str, url: str) -> int:
    if kind == "sftp":
        return (urlsplit(url).port if "//" in url else None) or SSH_PORT
    return urlsplit(url.partition(":")[2]).port or HTTPS_PORT
