"""Sending by C-STORE: what is negotiated, what is sent in which transfer syntax, what an answer means."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import batched, groupby
from typing import Any

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacs.routing.senders.association import MOST_CONTEXTS, Association
from pacs.routing.senders.content import Content, Source
from pacs.routing.senders.encryption import context_of
from pacs.routing.senders.faults import FaultKind, SendingFault
from pacs.routing.senders.outcome import Journal, Outcome
from pacs.routing.senders.pace import Pace
from pacs.routing.senders.pdus import Offer
from pacs.routing.senders.preparing import SyntaxesFor
from pacs.routing.senders.transcoding import chain

_NATIVE = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
_WARNINGS = range(0xB000, 0xC000)
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_DUPLICATE = 0x0111
# Contexts that one SOP class in one transfer syntax needs at most.
_MOST_OFFERS = 4

# Gives instances ready to be sent, in the order of the sources.
type Prepare = Callable[[Sequence[Source], SyntaxesFor], Iterator[Content | Outcome]]


class CStore:
    """Sends instances over as few associations as it takes.

    Parameters
    ----------
    target : host, port, aet, calling, tls, answer_seconds, kib_per_second of the target.
    wanted : transfer syntax in which the target gets images; None as they are.
    """

    def __init__(self, target: Mapping[str, Any], wanted: str | None) -> None:
        self._target = target
        self._wanted = chain(wanted)
        rate = target.get("bytes_per_second")
        self._pace = Pace(rate)
        self._tls: ssl.SSLContext | None = None if target.get("tls") is None else context_of(target["tls"])

    def send(self, sources: Sequence[Source], prepare: Prepare, journal: Journal) -> None:
        """Send all of `sources` and note what came of each.

        Raises
        ------
        SendingFault : the target is away, or takes no more for now; what was noted counts.
        """
        ordered = sorted(sources, key=lambda one: (one.sop_class, one.syntax))
        kinds = [(key, list(group)) for key, group in groupby(ordered, lambda one: (one.sop_class, one.syntax))]
        for some in batched(kinds, MOST_CONTEXTS // _MOST_OFFERS, strict=False):
            offers = [offer for (sop_class, syntax), _ in some for offer in self._offers(sop_class, syntax)]
            batch = [source for _, group in some for source in group]
            batch.sort(key=lambda one: (one.series, one.sop_instance))
            self._send(batch, list(dict.fromkeys(offers)), prepare, journal)

    def _offers(self, sop_class: str, syntax: str) -> list[Offer]:
        first = [Offer(sop_class, (one,)) for one in dict.fromkeys((*self._wanted, syntax))]
        # What it does not take compressed it gets uncompressed.
        return first if len(first) > 1 else [*first, Offer(sop_class, _NATIVE)]

    def _send(self, sources: Sequence[Source], offers: Sequence[Offer], prepare: Prepare, journal: Journal) -> None:
        target = self._target
        with Association(
            target["host"],
            target["port"],
            calling=target["calling"],
            called=target["aet"],
            offers=offers,
            tls=self._tls,
            answer_seconds=target["answer_seconds"],
            pace=self._pace,
        ) as association:
            for one in prepare(sources, lambda source: self._syntaxes_for(source, association)):
                journal.note(one if isinstance(one, Outcome) else self._store(association, one))

    def _syntaxes_for(self, source: Source, association: Association) -> list[str]:
        """Return the transfer syntaxes in which the target takes an instance, the best first."""
        choices = dict.fromkeys((*self._wanted, source.syntax, *_NATIVE))
        return [syntax for syntax in choices if (source.sop_class, syntax) in association.accepted]

    def _store(self, association: Association, content: Content) -> Outcome:
        context = association.accepted.get((content.sop_class, content.syntax))
        if context is None:
            return Outcome.refused(
                content,
                "context",
                f"it does not take SOP class {content.sop_class} in transfer syntax {content.syntax}",
            )
        answer = association.store(context, content.sop_class, content.sop_instance, content.data_set)
        words = f"status {answer.status:04X} {answer.comment}".strip()
        if answer.status in _OUT_OF_RESOURCES:
            raise SendingFault(
                FaultKind.BUSY,
                f"{self._target['aet']} is out of resources: {words}.",
                remedy="It has no room or is overloaded: its administrator has to see to it. It is tried again.",
            )
        if answer.status in {0, _DUPLICATE} or answer.status in _WARNINGS:
            return Outcome.sent(content, f"{answer.status:04X}", answer.comment)
        return Outcome.refused(content, f"{answer.status:04X}", words)
