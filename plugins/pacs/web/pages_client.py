"""How a command asks the pages: on their socket where this machine is the server, else by their address."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import httpx

from pacs.access.roles import ROLES_HEADER, Role

SOCKET_VARIABLE, URL_VARIABLE = "PACS_PAGES_SOCKET", "PACS_URL"
_TIMEOUT_SECONDS = 30


def add_address(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that say where the pages are."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", default=os.environ.get(URL_VARIABLE, ""), help="the archive, http://127.0.0.1:8080")
    where.add_argument(
        "--socket",
        type=Path,
        default=Path(os.environ.get(SOCKET_VARIABLE) or "/run/pacs/pages.sock"),
        help="the pages' socket (Pacs.Web.Socket), on the server itself",
    )


def pages_client(options: argparse.Namespace) -> httpx.Client:
    """Return a client of the pages, for a with statement."""
    headers = {"Accept": "application/json"}
    if options.url:
        return httpx.Client(base_url=options.url, headers=headers, timeout=_TIMEOUT_SECONDS)
    # Who may open the socket is this server's own: root, or the archive's user.
    person = os.environ.get("SUDO_USER") or os.environ.get("USER") or "local"
    headers |= {ROLES_HEADER: Role.ADMIN.value, "Remote-User": person}
    transport = httpx.HTTPTransport(uds=str(options.socket))
    return httpx.Client(transport=transport, base_url="http://localhost", headers=headers, timeout=_TIMEOUT_SECONDS)
