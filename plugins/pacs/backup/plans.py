"""What a restore will do and what will be lost by it, told before anything is done."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """A plan as a person reads it.

    Attributes
    ----------
    steps : what will be done, in this order.
    losses : what will not be there afterwards; empty: nothing.
    kept : what stays, and where.
    """

    title: str
    steps: list[str]
    losses: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Return the plan as text."""
        lines = [self.title, ""]
        lines += [f"  {number}. {step}" for number, step in enumerate(self.steps, 1)]
        lines += ["", "What will be lost:", *(f"  - {loss}" for loss in self.losses or ["nothing"])]
        if self.kept:
            lines += ["", "What stays:", *(f"  - {one}" for one in self.kept)]
        return "\n".join(lines)
