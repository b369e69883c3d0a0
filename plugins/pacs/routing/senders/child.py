"""What runs in the child: sending, asking for what is there, testing. Returns faults, for they are no crash."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pacs.ports import Json
from pacs.processes import Progress
from pacs.routing.senders import proof
from pacs.routing.senders.c_store import CStore, Prepare
from pacs.routing.senders.content import Source
from pacs.routing.senders.converting import Converting
from pacs.routing.senders.faults import SendingFault
from pacs.routing.senders.identity import WithoutIdentity
from pacs.routing.senders.outcome import Journal
from pacs.routing.senders.peer import Peer
from pacs.routing.senders.places import Placing
from pacs.routing.senders.places import opened as opened_place
from pacs.routing.senders.preparing import Preparing
from pacs.routing.senders.stow import Stow
from pacs.routing.senders.web import WebTarget

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)


class Sender(Protocol):
    """A way to a target."""

    def __init__(self, target: Mapping[str, Any], wanted: str | None) -> None:
        """Take the target, and the transfer syntax that it gets images in; None as they are."""

    def send(self, sources: Sequence[Source], prepare: Prepare, journal: Journal) -> None:
        """Send all of `sources` and note what came of each. Raises SendingFault."""


_SENDERS: Mapping[str, type[Sender]] = {
    "dicom": CStore,
    "stow": Stow,
    "peer": Peer,
    "folder": Placing,
    "sftp": Placing,
}


class _Telling(Journal):
    """A journal that tells how far it is."""

    def __init__(self, path: Path, progress: Progress, total: int) -> None:
        super().__init__(path.open("a", encoding="utf-8"))
        self._tell = progress
        self._total = total

    def note(self, outcome: Any) -> None:
        super().note(outcome)
        self._tell(self.count / max(1, self._total), "sending")


def send(arguments: dict[str, Json], progress: Progress) -> Json:
    """Send `instances` to `target`; what comes of each is written to the file `journal`.

    Returns
    -------
    {"seconds": time spent}, the fault that ended it if one did, and the report of a de-identification.
    """
    started = time.monotonic()
    sources = [Source.of(one) for one in arguments["instances"]]
    transfer = arguments["transfer"]
    answer: dict[str, Json] = {}
    identity = WithoutIdentity(arguments["deidentify"]) if arguments.get("deidentify") else None
    try:
        converting = Converting(transfer.get("quality"), identity, arguments["changes"])
        prepare = Preparing(converting, always=converting.always, threads=arguments["threads"])
        journal = _Telling(Path(arguments["journal"]), progress, len(sources))
        sender = _SENDERS[arguments["target"]["kind"]](arguments["target"], transfer.get("syntax"))
        sender.send(sources, prepare, journal)
    except SendingFault as fault:
        answer = _told(fault)
    report = {} if identity is None else {"report": identity.report()}
    return {**answer, **report, "seconds": time.monotonic() - started}


def prove(arguments: dict[str, Json], _progress: Progress) -> Json:
    """Ask `target` for what it has of `wanted`, lists of study, series and instance.

    Returns
    -------
    {"found": SOP Instance UIDs}, or the fault.
    """
    try:
        found = proof.found_at(arguments["target"], [proof.Wanted(*one) for one in arguments["wanted"]])
    except SendingFault as fault:
        return _told(fault)
    wanted = {one[2] for one in arguments["wanted"]}
    return {"found": sorted(found & wanted)}


def test(arguments: dict[str, Json], _progress: Progress) -> Json:
    """Try whether `target` is there and lets us in: C-ECHO, a QIDO-RS search, a sign-in. Return {} or the fault."""
    target = arguments["target"]
    try:
        _try(target)
    except SendingFault as fault:
        return _told(fault)
    return {}


def _try(target: Mapping[str, Any]) -> None:
    if target["kind"] == "dicom":
        proof.echo(target)
    elif target["kind"] in {"stow", "peer"}:
        with WebTarget(target) as web:
            web.ask("GET", "/studies?limit=1" if target["kind"] == "stow" else "/system")
    else:
        with opened_place(target):
            pass


def _told(fault: SendingFault) -> dict[str, Json]:
    return {"fault": {"kind": fault.kind.value, "message": fault.message, "remedy": fault.remedy}}
