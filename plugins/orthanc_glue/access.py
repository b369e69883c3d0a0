"""The policy of `pacs.access` before every request that Orthanc takes over HTTP."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

from orthanc_glue.callbacks import Callbacks
from pacs.access.gate import OrthancGate
from pacs.access.settings import AccessSettings
from pacs.metrics import Metrics

_log = logging.getLogger(__name__)


class AccessFilter:
    """Has every request over HTTP looked at, where signing in is required. Requests of plugins are none of these.

    Orthanc asks with the method and the path that it acts on: decoded, without dots and double slashes, the method of
    X-HTTP-Method-Override. A request that is refused gets 403 without a body.
    """

    def __init__(self, orthanc: ModuleType, settings: AccessSettings, metrics: Metrics) -> None:
        self._is_required = settings.required
        methods = orthanc.HttpMethod
        self._methods = {int(getattr(methods, name)): name for name in ("GET", "POST", "PUT", "DELETE")}
        self._gate = OrthancGate(metrics)

    def register(self, callbacks: Callbacks) -> None:
        """Stand before Orthanc. Where nobody signs in there is nothing to look at, and it costs nothing."""
        if self._is_required:
            callbacks.filter_http(self._admits)

    def _admits(self, path: str, **request: Any) -> bool:
        """Answer Orthanc. Whatever goes wrong, the answer is no."""
        try:
            return self._gate.admits(self._methods[request["method"]], path, request["headers"])
        except Exception:  # noqa: BLE001 - the edge of a callback; Orthanc would answer 500
            _log.exception("a request could not be judged and is refused")
            return False
