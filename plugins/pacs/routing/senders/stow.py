"""Sending by STOW-RS (DICOM PS3.18 section 10.5), several instances a request, streamed from their files."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import httpx

from pacs.ports import Json
from pacs.routing.senders.c_store import Prepare
from pacs.routing.senders.content import Content, Source
from pacs.routing.senders.outcome import Journal, Outcome
from pacs.routing.senders.pace import Pace
from pacs.routing.senders.transcoding import chain
from pacs.routing.senders.web import WebTarget

_BATCH_BYTES = 16 * 2**20
_BATCH_INSTANCES = 50
_PART_BYTES = 2**20
_REFERENCED, _FAILED, _UID, _REASON = "00081199", "00081198", "00081155", "00081197"


class Stow:
    """Sends instances to a DICOMweb archive."""

    def __init__(self, target: Mapping[str, Any], wanted: str | None) -> None:
        self._target = target
        self._wanted = chain(wanted)
        self._pace = Pace(target.get("bytes_per_second"))

    def send(self, sources: Sequence[Source], prepare: Prepare, journal: Journal) -> None:
        """Send all of `sources` and note what came of each. Raises SendingFault."""
        with WebTarget(self._target) as web:
            batch: list[Content] = []
            for one in prepare(sources, lambda source: [*self._wanted, source.syntax]):
                if isinstance(one, Outcome):
                    journal.note(one)
                    continue
                batch.append(one)
                if len(batch) >= _BATCH_INSTANCES or sum(len(each.file) for each in batch) >= _BATCH_BYTES:
                    self._post(web, batch, journal)
                    batch = []
            if batch:
                self._post(web, batch, journal)

    def _post(self, web: WebTarget, batch: Sequence[Content], journal: Journal) -> None:
        boundary = uuid.uuid4().hex
        heads = [f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()] * len(batch)
        end = f"\r\n--{boundary}--\r\n".encode()
        length = sum(len(head) + len(one.file) for head, one in zip(heads, batch, strict=True)) + len(end)
        response = web.ask(
            "POST",
            "/studies",
            takes=lambda status: status == HTTPStatus.CONFLICT,
            content=self._body(heads, batch, end),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Content-Length": str(length),
                "Accept": "application/dicom+json",
            },
        )
        failed = _failed(response)
        for one in batch:
            journal.note(_outcome(one, response.status_code, failed))

    def _body(self, heads: Sequence[bytes], batch: Sequence[Content], end: bytes) -> Iterator[bytes]:
        for head, one in zip(heads, batch, strict=True):
            yield head
            for start in range(0, len(one.file), _PART_BYTES):
                part = bytes(one.file[start : start + _PART_BYTES])
                yield part
                self._pace.wait(len(part))
        yield end


def _outcome(content: Content, status: int, answer: tuple[set[str], dict[str, str]] | None) -> Outcome:
    """Take for stored only what the answer names as stored (PS3.18 table 10.5.3-1)."""
    if answer is None:
        # An answer without a body: the status alone counts.
        taken = status == HTTPStatus.OK
        return Outcome.sent(content, str(status)) if taken else Outcome.refused(content, str(status), "no reason given")
    stored, failed = answer
    if content.sop_instance in stored:
        return Outcome.sent(content, str(status))
    return Outcome.refused(content, str(status), failed.get(content.sop_instance, "its answer does not name it"))


def _failed(response: httpx.Response) -> tuple[set[str], dict[str, str]] | None:
    """Return which instances an answer calls stored, and which failed with what reason."""
    try:
        answer: Json = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    if isinstance(answer, list):
        answer = answer[0] if answer else {}
    stored = {_value(item, _UID) for item in answer.get(_REFERENCED, {}).get("Value", [])}
    failures = answer.get(_FAILED, {}).get("Value", [])
    return stored, {_value(item, _UID): f"failure reason {_reason(item)}" for item in failures}


def _reason(item: Json) -> str:
    value = _value(item, _REASON)
    return f"{int(value):04X}" if value.isdigit() else value


def _value(item: Json, tag: str) -> str:
    return str((item.get(tag, {}).get("Value") or [""])[0])
