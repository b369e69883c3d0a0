"""Orthanc lets the modality be played from this machine, for as long as the rehearsal takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pacs.errors import NotFound
from pacs.hl7.rehearse.site import KnownStation
from pacs.hl7.rehearse.station import Station
from pacs.ports import Archive


@contextmanager
def answered_here(archive: Archive, known: KnownStation, station: Station) -> Iterator[None]:
    """Register the modality with this machine's addresses and its own rights; take that back at the end.

    Orthanc and the MPPS service compare addresses; the station that really has the AE title keeps its entry.
    """
    if known.entry is None:
        yield
        return
    fiction, hosts = station.fiction, dict.fromkeys((station.archive.host, station.mpps.host))
    paths = [f"/modalities/{fiction.play.prefix.lower()}{fiction.number}-{index}" for index in range(len(hosts))]
    try:
        for path, host in zip(paths, hosts, strict=True):
            archive.put_json(path, {**known.entry, "Host": host})
        yield
    finally:
        for path in paths:
            _forget(archive, path)


def _forget(archive: Archive, path: str) -> None:
    try:
        archive.delete(path)
    except NotFound:
        return
