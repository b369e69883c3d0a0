"""What is told of refusals: a figure for Prometheus, a line in the log; nothing of a patient."""

from __future__ import annotations

import logging
from collections.abc import Collection

from pacs.access.people import readable_name
from pacs.access.roles import Action, Role, roles_with, written
from pacs.metrics import Metrics

_log = logging.getLogger(__name__)


class Refusals:
    """Counts and logs who was refused what at one of the two doors.

    Parameters
    ----------
    door : "orthanc" or "pages".
    """

    def __init__(self, metrics: Metrics, door: str) -> None:
        self._door = door
        self._counter = metrics.counter(
            "pacs_access_refused_total",
            "Requests refused because nobody with the roles of the request may do this.",
            ("door", "action"),
        )

    def note(self, person: str, roles: Collection[Role], method: str, action: Action) -> None:
        """Note a refusal. The address is left out: it may name a patient or a study."""
        self._counter.labels(self._door, action.value).inc()
        _log.warning(
            "refused at %s: %s (roles: %s) may not %s (%s), which needs %s",
            self._door, readable_name(person), written(roles), action.value, method, " or ".join(roles_with(action)),
        )  # fmt: skip

    def note_unsigned(self, method: str) -> None:
        """Note a request that came through NGINX without roles: its configuration is wrong, or it was got around."""
        self._counter.labels(self._door, "unsigned").inc()
        _log.error("refused at %s: a request (%s) came through NGINX without Pacs-Roles", self._door, method)
