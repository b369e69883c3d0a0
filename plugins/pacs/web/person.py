"""Who does something on the pages, for the histories that keep it."""

from __future__ import annotations

from flask import request

from pacs.access.people import NAME_HEADER, readable_name


def current_person() -> str:
    """Return the name that NGINX's sign-in gives the request; "local" where nobody signs in."""
    # A header's bytes come as Latin-1 (PEP 3333); names are UTF-8.
    return readable_name(request.headers.get(NAME_HEADER, "").encode("latin-1", "replace").decode("utf-8", "replace"))


def current_actor() -> str:
    """Return who does it, as histories write it."""
    return f"person:{current_person()}"
