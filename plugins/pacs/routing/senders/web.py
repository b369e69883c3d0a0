"""HTTP towards a target: one client, its certificates, and what an answer means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Self

import httpx

from pacs.routing.senders.encryption import context_of
from pacs.routing.senders.faults import FaultKind, SendingFault

_BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INSUFFICIENT_STORAGE})
_FORBIDDEN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


class WebTarget:
    """A target that is reached by HTTP. Use it as a context."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        self.url = str(target["url"]).rstrip("/")
        self._client = httpx.Client(
            auth=(target["user"], target.get("password") or "") if target.get("user") else None,
            headers={"Authorization": f"Bearer {target['token']}"} if target.get("token") else None,
            timeout=httpx.Timeout(target["answer_seconds"], connect=10.0),
            verify=context_of(target.get("tls") or {}) if self.url.startswith("https") else False,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, *, takes: Callable[[int], bool] | None = None, **body: Any) -> httpx.Response:
        """Ask for `path` below the target's address.

        Parameters
        ----------
        takes : tells statuses of failure that the caller understands.

        Raises
        ------
        SendingFault : no answer, or one that is a failure.
        """
        try:
            response = self._client.request(method, f"{self.url}{path}", **body)
        except httpx.HTTPError as error:
            was_there = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise SendingFault(
                FaultKind.CUT if was_there else FaultKind.AWAY,
                f"{self.url} did not answer: {error or type(error).__name__}.",
                remedy="Check that it runs, its address, its certificate, and the firewalls between.",
            ) from error
        if response.is_success or (takes is not None and takes(response.status_code)):
            return response
        raise self._fault(response)

    def _fault(self, response: httpx.Response) -> SendingFault:
        status = response.status_code
        words = f"{self.url} answered {status} {response.reason_phrase}: {response.text[:300].strip()}".rstrip(": ")
        if status in _FORBIDDEN:
            return SendingFault(
                FaultKind.AWAY, f"{words}.", remedy="Check user and password of the target, and its rights there."
            )
        if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return SendingFault(FaultKind.BUSY, f"{words}.", remedy="Its administrator has to see to it.")
        return SendingFault(FaultKind.REFUSED, f"{words}.", remedy="Check the address, and what that system takes.")
