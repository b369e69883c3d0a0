"""What rules may name: the targets, projects of de-identification and other systems that there are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, fields

type Names = Callable[[], Collection[str]]


def _none() -> Collection[str]:
    return ()


@dataclass(frozen=True)
class Known:
    """Each is asked when a file is read, so that what was added since is known.

    Attributes
    ----------
    targets : of deliveries.
    archives : those of them that can be searched, and asked to send.
    projects : of de-identification.
    destinations : of HL7 messages.
    presets : of 3D models.
    """

    targets: Names = _none
    archives: Names = _none
    projects: Names = _none
    destinations: Names = _none
    presets: Names = _none


class _Anything(Collection[str]):
    """Has every name in it."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


_ANYTHING = _Anything()


def anything() -> Known:
    """Return what lets rules name anything: for rules that were in force, and whose targets may be gone."""
    return Known(*(lambda: _ANYTHING for _ in fields(Known)))
