"""Who does something on the pages, for the histories that keep it."""

from __future__ import annotations

from flask import Flask, request

from pacs.access.people import NAME_HEADER, readable_name


def install(app: Flask) -> None:
    """Give the templates `signed_in_person()`."""
    app.jinja_env.globals["signed_in_person"] = signed_in_person


def current_person() -> str:
    """Return the name that NGINX's sign-in gives the request; "local" where nobody signs in."""
    # A header's bytes come as Latin-1 (PEP 3333); names are UTF-8.
    return readable_name(request.headers.get(NAME_HEADER, "").encode("latin-1", "replace").decode("utf-8", "replace"))


def signed_in_person() -> str:
    """Return the name of who has signed in, who can therefore sign out; empty where nobody signs in."""
    return current_person() if request.headers.get(NAME_HEADER) else ""


def current_actor() -> str:
    """Return who does it, as histories write it."""
    return f"person:{current_person()}"
