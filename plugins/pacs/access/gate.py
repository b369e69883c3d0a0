"""`OrthancGate`: decides about each request to Orthanc itself."""

from __future__ import annotations

from collections.abc import Mapping

from pacs.access.orthanc_routes import action_of
from pacs.access.people import NAME_HEADER
from pacs.access.refusals import Refusals
from pacs.access.roles import ROLES_HEADER, actions_of, read_roles
from pacs.metrics import Metrics

_ROLES, _NAME = ROLES_HEADER.lower(), NAME_HEADER.lower()
# NGINX says by it for whom it asks; no process of this server does.
_PASSED_ON = "x-forwarded-for"


class OrthancGate:
    """Lets requests to Orthanc's own port pass or not. May be called on any thread, for many requests at once.

    A request without Pacs-Roles is one of this server's own processes, which Orthanc alone takes connections from.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._refusals = Refusals(metrics, "orthanc")

    def admits(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Tell whether a request may be answered.

        Parameters
        ----------
        method, path : as Orthanc acts on them; see `pacs.access.orthanc_routes.action_of`.
        headers : names in lower case.
        """
        told = headers.get(_ROLES)
        if told is None:
            if _PASSED_ON not in headers:
                return True
            self._refusals.note_unsigned(method)
            return False
        roles, action = read_roles(told), action_of(method, path)
        if action in actions_of(roles):
            return True
        self._refusals.note(headers.get(_NAME, ""), roles, method, action)
        return False
