"""Orthanc's REST API over HTTP, for what runs outside Orthanc's process: child processes, the launcher, tests."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx
from pyorthanc import Orthanc

from pacs.errors import ArchiveError, NotFound
from pacs.ports import Json


class HttpArchive:
    """Implements `pacs.ports.Archive` over HTTP. Safe for use from several threads.

    Parameters
    ----------
    url : of Orthanc or of the NGINX before it, for example http://127.0.0.1:8080.
    timeout_seconds : longest wait for one answer.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 120.0) -> None:
        # Orthanc may close a connection after 1 s of silence: what is sent into that moment gets no answer.
        self._client = Orthanc(url, timeout=timeout_seconds, limits=httpx.Limits(keepalive_expiry=0.5))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get_json(self, path: str) -> Json:
        """GET `path` and decode the JSON answer."""
        return self._ask("GET", path).json()

    def get_bytes(self, path: str) -> bytes:
        """GET `path` and return the body."""
        return self._ask("GET", path).content

    def post_json(self, path: str, body: Json) -> Json:
        """POST `body` as JSON and decode the answer, None when there is none."""
        return _decode(self._ask("POST", path, json=body))

    def post_bytes(self, path: str, body: bytes) -> Json:
        """POST `body` as it is and decode the answer, None when there is none."""
        return _decode(self._ask("POST", path, content=body))

    def post_for_bytes(self, path: str, body: Json) -> bytes:
        """POST `body` as JSON and return the body of the answer."""
        return self._ask("POST", path, json=body).content

    def put_json(self, path: str, body: Json) -> None:
        """PUT `body` as JSON."""
        self._ask("PUT", path, json=body)

    def delete(self, path: str) -> None:
        """DELETE `path`."""
        self._ask("DELETE", path)

    def _ask(self, method: str, path: str, *, json: Json = None, content: bytes | None = None) -> httpx.Response:
        try:
            response = self._answer(method, path, json=json, content=content)
        except httpx.HTTPError as error:
            raise ArchiveError(f"Orthanc did not answer {method} {path}: {error}.") from error
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise NotFound(f"Orthanc has nothing at {path}.")
        if response.is_error:
            raise ArchiveError(f"Orthanc answered {method} {path} with {response.status_code}: {_reason(response)}.")
        return response

    def _answer(self, method: str, path: str, **body: Any) -> httpx.Response:
        """Ask; ask once more when Orthanc closed an idle connection just as we used it, which is no harm for a GET."""
        ask = partial(self._client.request, method, f"{self._client.url}{path}", **body)
        try:
            response: httpx.Response = ask()
        except (httpx.RemoteProtocolError, httpx.ReadError):
            if method != "GET":
                raise
            response = ask()
        return response


def _decode(response: httpx.Response) -> Json:
    return response.json() if response.content else None


def _reason(response: httpx.Response) -> str:
    """Return what Orthanc says of an error, on one line."""
    try:
        problem = response.json()
        return str(problem.get("Details") or problem.get("Message") or problem.get("detail") or response.reason_phrase)
    except (ValueError, AttributeError):
        return response.reason_phrase
