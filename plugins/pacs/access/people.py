"""Names of people as NGINX's sign-in tells them."""

from __future__ import annotations

# What NGINX says of who is signed in, whatever the client's request claimed.
NAME_HEADER = "Remote-User"
NOBODY_KNOWN = "local"
_LONGEST_NAME = 200


def readable_name(name: str) -> str:
    """Return a name fit for a history and for one line of the log; "local" where nobody signs in."""
    return "".join(filter(str.isprintable, name)).strip()[:_LONGEST_NAME] or NOBODY_KNOWN
