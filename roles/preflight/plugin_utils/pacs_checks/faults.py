"""A fault, and the list of faults as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pacs_checks.places import Places

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One mistake.

    Attributes
    ----------
    path : the variable and the keys below it, empty for a fault of the machine itself.
    """

    path: Path_
    message: str
    remedy: str


def report(faults: Sequence[Fault], places: Places) -> str:
    """Return what a person reads: every fault with its place, in the order of the files."""
    lines = []
    for fault in sorted(faults, key=lambda fault: (places.of(fault.path) == "", places.of(fault.path))):
        variable = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault.path).lstrip(".")
        place = ": ".join(part for part in (places.of(fault.path), variable) if part) or "the server"
        lines.append(f"- {place}: {fault.message}. {fault.remedy}")
    return "\n".join(lines)
