"""Which configured peer a connection and a message belong to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pacs.hl7.header import Header
from pacs.hl7.settings import Hl7Settings, PeerSettings

UNKNOWN = ""


@dataclass(frozen=True)
class Peer:
    """A sender by the name that the settings give it; "" for one that fits no peer."""

    name: str
    settings: PeerSettings

    def calls_from(self, address: str) -> bool:
        """Tell whether the peer may call from this address."""
        if not self.settings.addresses:
            return True
        found = ipaddress.ip_address(address)
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return any((mapped or found) in network for network in self.settings.addresses)

    def signs(self, header: Header) -> bool:
        """Tell whether MSH-3 and MSH-4 (or their first components) are those of the peer."""
        return _is_named(self.settings.sending_application, header.sending_application, header) and _is_named(
            self.settings.sending_facility, header.sending_facility, header
        )


class Peers:
    """The peers in the order of the settings."""

    def __init__(self, settings: Hl7Settings) -> None:
        self._peers = [Peer(name, peer) for name, peer in settings.peers.items()]
        self._unknown = Peer(UNKNOWN, settings.unknown_peers) if settings.takes_unknown_peers else None

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers)

    def named(self, name: str) -> Peer | None:
        """Return a peer by its name; of "" what holds for unknown ones."""
        return self._unknown if name == UNKNOWN else next((peer for peer in self._peers if peer.name == name), None)

    def calling_from(self, address: str) -> tuple[Peer, ...]:
        """Return who may be calling from an address, the unknown one last; empty: refuse the connection."""
        found = [peer for peer in self._peers if peer.calls_from(address)]
        return tuple(found if self._unknown is None else [*found, self._unknown])


def sender_of(header: Header, candidates: Sequence[Peer]) -> Peer | None:
    """Return the first of `candidates` that signs as the message does, None when none does."""
    return next((peer for peer in candidates if peer.signs(header)), None)


def _is_named(wanted: str, found: str, header: Header) -> bool:
    return not wanted or wanted in (found, header.name_of(found))
