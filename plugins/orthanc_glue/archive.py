"""Orthanc's REST API from within its own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType

from pacs.errors import ArchiveError, NotFound
from pacs.ports import Json


class OrthancArchive:
    """Implements `pacs.ports.Archive` with Orthanc's plugin SDK, without a way over the network."""

    def __init__(self, orthanc: ModuleType) -> None:
        self._orthanc = orthanc
        self._missing = {int(orthanc.ErrorCode.UNKNOWN_RESOURCE), int(orthanc.ErrorCode.INEXISTENT_ITEM)}

    def get_json(self, path: str) -> Json:
        """GET `path` and decode the JSON answer."""
        return json.loads(self.get_bytes(path))

    def get_bytes(self, path: str) -> bytes:
        """GET `path` and return the body."""
        return self._call(path, self._orthanc.RestApiGetAfterPlugins, path)

    def post_json(self, path: str, body: Json) -> Json:
        """POST `body` as JSON and decode the answer, None when there is none."""
        return self.post_bytes(path, json.dumps(body).encode())

    def post_bytes(self, path: str, body: bytes) -> Json:
        """POST `body` as it is and decode the answer, None when there is none."""
        answer = self._call(path, self._orthanc.RestApiPostAfterPlugins, path, body)
        return json.loads(answer) if answer else None

    def post_for_bytes(self, path: str, body: Json) -> bytes:
        """POST `body` as JSON and return the body of the answer."""
        return self._call(path, self._orthanc.RestApiPostAfterPlugins, path, json.dumps(body).encode())

    def put_json(self, path: str, body: Json) -> None:
        """PUT `body` as JSON."""
        self._call(path, self._orthanc.RestApiPutAfterPlugins, path, json.dumps(body).encode())

    def delete(self, path: str) -> None:
        """DELETE `path`."""
        self._call(path, self._orthanc.RestApiDeleteAfterPlugins, path)

    def _call(self, path: str, function: Callable[..., bytes], *arguments: object) -> bytes:
        try:
            return function(*arguments)
        except self._orthanc.OrthancException as error:
            code, reason = error.args[0], error.args[-1]
            if code in self._missing:
                raise NotFound(f"Orthanc has nothing at {path}.") from error
            raise ArchiveError(f"Orthanc refused {path}: {reason} (code {code}).") from error
