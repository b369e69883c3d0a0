"""The part "Pacs.Mesh" of the settings."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

# Of the machine's memory, what models may take when nothing is said: Orthanc and the database need theirs.
_SHARE_OF_MEMORY = 3
_LEAST_BYTES = 2**30


class MeshSettings(BaseModel):
    """What 3D models may take of the machine, and how long they are kept."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)

    processes: int | None = Field(
        default=None, ge=1, le=64, description="Models that are made at the same time; null: one for each core."
    )
    memory_bytes: int | None = Field(
        default=None,
        ge=256 * 2**20,
        description="Memory of all of them together; what would not fit is refused. null: a third of the machine's.",
    )
    seconds: float = Field(default=1800, ge=10, le=86_400, description="Time for one model.")
    niceness: int = Field(
        default=10,
        ge=0,
        le=19,
        description="How far models give way to the reception of images (nice(2)); 0: not at all.",
    )
    most_waiting: int = Field(default=500, ge=1, le=100_000, description="Models that may wait; more are refused.")
    folder: Path = Field(
        default=Path("/var/lib/pacs/plugins/models"), description="Where finished models are kept: patients' data."
    )
    keep_days: float = Field(default=30, gt=0, description="How long a model is kept after it was last asked for.")
    keep_bytes: int = Field(
        default=20 * 1000**3, ge=10**8, description="Room for finished models; those unused the longest go first."
    )

    @property
    def workers(self) -> int:
        """How many models are made at the same time."""
        return self.processes or os.process_cpu_count() or 1

    @property
    def budget_bytes(self) -> int:
        """Memory for all workers together."""
        if self.memory_bytes is not None:
            return self.memory_bytes
        machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return max(machine_bytes // _SHARE_OF_MEMORY, _LEAST_BYTES)
