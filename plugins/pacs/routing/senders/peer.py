"""Sending to another Orthanc by its REST API, an instance a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pacs.routing.senders.c_store import Prepare
from pacs.routing.senders.content import Content, Source
from pacs.routing.senders.outcome import Journal, Outcome
from pacs.routing.senders.pace import Pace
from pacs.routing.senders.transcoding import chain
from pacs.routing.senders.web import WebTarget

_PART_BYTES = 2**20
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
_STORED = frozenset({"Success", "AlreadyStored"})


class Peer:
    """Sends instances to an Orthanc."""

    def __init__(self, target: Mapping[str, Any], wanted: str | None) -> None:
        self._target = target
        self._wanted = chain(wanted)
        self._pace = Pace(target.get("bytes_per_second"))

    def send(self, sources: Sequence[Source], prepare: Prepare, journal: Journal) -> None:
        """Send all of `sources` and note what came of each. Raises SendingFault."""
        with WebTarget(self._target) as web:
            for one in prepare(sources, lambda source: [*self._wanted, source.syntax]):
                journal.note(one if isinstance(one, Outcome) else self._post(web, one))

    def _post(self, web: WebTarget, content: Content) -> Outcome:
        response = web.ask(
            "POST",
            "/instances",
            takes=lambda status: status in _REFUSED,
            content=self._body(content),
            headers={"Content-Type": "application/dicom", "Content-Length": str(len(content.file))},
        )
        status = str(response.status_code)
        if response.is_error:
            return Outcome.refused(content, status, response.text[:300])
        said = str(response.json().get("Status"))
        if said in _STORED:
            return Outcome.sent(content, status, said)
        return Outcome.refused(content, status, f"it was not stored there: {said}")

    def _body(self, content: Content) -> Iterator[bytes]:
        for start in range(0, len(content.file), _PART_BYTES):
            part = bytes(content.file[start : start + _PART_BYTES])
            yield part
            self._pace.wait(len(part))
