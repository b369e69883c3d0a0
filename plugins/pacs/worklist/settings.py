"""The part "Pacs.Worklist" of the settings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

from pacs.worklist.statuses import StepStatus

type CharacterSet = Literal["ISO_IR 100", "ISO_IR 192"]


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)


class StationSettings(_Section):
    """What is different for one station. What is not given is as for all."""

    character_set: CharacterSet | None = Field(
        default=None, description="In which answers are written, whatever the station asks in."
    )
    only_own_steps: bool | None = Field(default=None, description="As Worklist.OnlyOwnSteps.")


class WorklistSettings(_Section):
    """What modalities get when they ask for their worklist."""

    statuses: tuple[StepStatus, ...] = Field(
        default=(StepStatus.SCHEDULED, StepStatus.ARRIVED, StepStatus.READY),
        min_length=1,
        description="Steps in these statuses are answered, unless the station asks for a status itself.",
    )
    only_own_steps: bool = Field(
        default=False,
        description="Answer a station with the steps for its own AE title (and those for no station) alone.",
    )
    names: Literal["exact", "folded", "words"] = Field(
        default="folded",
        description="How names match: letter by letter; without regard to case and accents (PS3.4 C.2.2.2.1); "
        "or by words that each begin a word of the name, in any order.",
    )
    character_set: CharacterSet = Field(
        default="ISO_IR 100",
        description="Of answers to stations that don't say which they understand; "
        "what it can't write is answered in ISO_IR 192.",
    )
    most_answers: int = Field(
        default=2000, ge=1, le=100_000, description="A question with more answers is refused, never cut short."
    )
    keep_days: int | None = Field(
        default=None,
        ge=1,
        description="Entries are deleted with their history this many days after their day and their last change; "
        "null: never.",
    )
    stations: dict[str, StationSettings] = Field(
        default={}, description="What is different for single stations, by AE title."
    )
