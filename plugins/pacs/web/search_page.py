"""A page with a search form and what it finds: whole at first, then its list alone, with an address that repeats it."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, render_template, request

# The form's id, which htmx tells when it was the form that asked.
FORM = "search"


def render_search(whole: str, part: str, address: str, *, only_by_form: bool = True, **context: Any) -> Response:
    """Return the page, or only its list when htmx asks.

    Parameters
    ----------
    whole, part : templates.
    address : repeats this search.
    only_by_form : the browser goes to `address` when the form asked, not when a list renews itself: that is no new
        place to go back to.
    """
    is_part = "HX-Request" in request.headers and "HX-History-Restore-Request" not in request.headers
    response = make_response(render_template(part if is_part else whole, **context))
    response.headers["Vary"] = "HX-Request, Cookie, Accept-Language"
    if is_part and (not only_by_form or request.headers.get("HX-Trigger") == FORM):
        response.headers["HX-Push-Url"] = address
    return response
