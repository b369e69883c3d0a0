"""Where the services of this archive listen, and which modalities it knows: what a rehearsal is made with."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from pacs.hl7.orders.library import MappingLibrary
from pacs.hl7.outbound.kinds import EventKind
from pacs.hl7.outbound.outbox import Outbox
from pacs.hl7.peers import Peer, Peers
from pacs.hl7.rehearse.fiction import AUTHORITY, PLAYS
from pacs.hl7.rehearse.station import Address
from pacs.hl7.settings import LOOPBACK, Hl7Settings
from pacs.mpps.settings import MppsSettings
from pacs.ports import Archive, Json

# What a modality is, told from its name or AE title: "CT1", "RM_2", "SIEMENS-CT". Else the order of fiction is for OT.
_MODALITIES = (
    ("CT", ("CT", "TC", "TAC")),
    ("MR", ("MR", "RM", "MRI", "RMN")),
    ("US", ("US", "ECO", "USG", "ECOGRAFO")),
    ("MG", ("MG", "MAMO", "MMG")),
    ("DX", ("DX", "DR", "RX")),
    ("CR", ("CR",)),
    ("XA", ("XA", "ANGIO", "HEMO")),
    ("RF", ("RF", "FLUORO", "TELE")),
    ("NM", ("NM", "GAMMA", "SPECT")),
    ("PT", ("PT", "PET")),
    ("ES", ("ES", "ENDO")),
    ("BMD", ("BMD", "DEXA", "DENSITO")),
)
_TOLD = (EventKind.SCHEDULED, EventKind.STARTED, EventKind.COMPLETED)


@dataclass(frozen=True)
class KnownStation:
    """A modality as Orthanc knows it.

    Attributes
    ----------
    name : "" for an AE title that Orthanc does not know.
    entry : Orthanc's, with what the modality may do; None likewise.
    """

    name: str
    ae_title: str
    modality: str
    entry: Json = None


class Site:
    """The archive, seen from a modality and from the hospital's system.

    Parameters
    ----------
    library : mappings of the senders: an order must name a patient by an authority that its sender's mapping trusts.
    """

    def __init__(
        self,
        archive: Archive,
        hl7: Hl7Settings,
        mpps: MppsSettings,
        outbox: Outbox,
        library: MappingLibrary,
    ) -> None:
        self._archive = archive
        self._hl7 = hl7
        self._mpps = mpps
        self._outbox = outbox
        self._library = library
        self.peers = Peers(hl7)

    @property
    def hl7_address(self) -> tuple[str, int]:
        """Host and port for messages."""
        return _reachable(str(self._hl7.bind)), self._hl7.port

    @property
    def mpps_address(self) -> Address | None:
        """Where steps are reported; None when that is switched off."""
        settings = self._mpps
        return Address(_reachable(settings.bind), settings.port, settings.ae_title) if settings.enabled else None

    @property
    def forwarded_to(self) -> tuple[str, ...]:
        """Who gets reports of steps from us."""
        return self._mpps.forward_to

    def archive_address(self) -> Address:
        """Return where Orthanc listens for DICOM."""
        system = self._archive.get_json("/system")
        return Address(LOOPBACK, int(system["DicomPort"]), str(system["DicomAet"]))

    def stations(self) -> list[KnownStation]:
        """Return the modalities that Orthanc knows, by name."""
        entries = self._archive.get_json("/modalities?expand")
        known = [_known(name, entry) for name, entry in entries.items() if not is_temporary(name)]
        return sorted(known, key=lambda station: station.name)

    def chosen(self, names: Iterable[str]) -> list[KnownStation]:
        """Return the modalities of these names or AE titles; an unknown one is taken for an AE title."""
        known = self.stations()
        by_name = {station.ae_title: station for station in known} | {station.name: station for station in known}
        return [by_name.get(name) or KnownStation("", name, modality_of(name)) for name in dict.fromkeys(names)]

    def sender(self, name: str) -> Peer | None:
        """Return the peer in whose name an order is sent; None when there is none of this name."""
        return self.peers.named(name)

    def authority_of(self, peer: Peer) -> str:
        """Return an assigning authority that the sender's mapping trusts."""
        trusted = self._library.mapping(peer.settings.mapping).identity.only
        return next(iter(trusted), AUTHORITY)

    def told(self) -> dict[str, int]:
        """Return the destinations, each with how many messages it is to get about one step from begin to end."""
        return {
            name: len([kind for kind in _TOLD if kind in destination.settings.events])
            for name, destination in self._outbox.destinations.items()
        }


def is_temporary(name: str) -> bool:
    """Tell whether Orthanc's name of a modality is one that a rehearsal or another play made for itself."""
    return name.startswith(tuple(play.prefix.lower() for play in PLAYS))


def modality_of(*names: str) -> str:
    """Return the modality that a name or AE title tells of, OT when it tells of none."""
    words = {word for name in names for word in re.split(r"[^A-Z]+", name.upper()) if word}
    return next((modality for modality, known in _MODALITIES if not words.isdisjoint(known)), "OT")


def _known(name: str, entry: Json) -> KnownStation:
    ae_title = str(entry["AET"])
    return KnownStation(name, ae_title, modality_of(name, ae_title), entry)


def _reachable(bind: str) -> str:
    """Return an address of this machine for one that is listened on."""
    return LOOPBACK if ip_address(bind).is_unspecified else bind
