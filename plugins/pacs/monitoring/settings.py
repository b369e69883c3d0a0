"""The part "Pacs.Monitoring" of the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_pascal


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)


class GoldenSignalSettings(_Section):
    """A study of nobody that goes the whole way again and again."""

    every_minutes: float | None = Field(
        default=None, gt=0, le=1440, description="How often it goes the whole way; null: never."
    )


class ReferenceLevel(_Section):
    """A diagnostic reference level of the country: what the median dose of a protocol is compared with."""

    modality: str = Field(min_length=1, description="CT, MG, DX, XA, RF ... as the dose reports' studies have it.")
    protocol: str = Field(
        min_length=1, description='Regular expression that finds the protocols it is for, "head|cr[aá]n[ei]o".'
    )
    name: str = Field(default="", description="What the report calls it; empty: the expression.")
    ctdi_vol_mgy: float | None = Field(default=None, gt=0, description="CTDIvol in mGy.")
    dlp_mgy_cm: float | None = Field(default=None, gt=0, description="DLP of the examination in mGy cm.")
    dose_area_gy_cm2: float | None = Field(default=None, gt=0, description="Dose area product in Gy cm2.")
    glandular_dose_mgy: float | None = Field(default=None, gt=0, description="Average glandular dose in mGy.")

    @field_validator("protocol")
    @classmethod
    def _is_expression(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            message = f"expected a regular expression: {error}"
            raise ValueError(message) from None
        return pattern

    @model_validator(mode="after")
    def _has_a_level(self) -> Self:
        if not any((self.ctdi_vol_mgy, self.dlp_mgy_cm, self.dose_area_gy_cm2, self.glandular_dose_mgy)):
            message = "expected at least one level: CtdiVolMgy, DlpMgyCm, DoseAreaGyCm2 or GlandularDoseMgy"
            raise ValueError(message)
        return self


class MonitoringSettings(_Section):
    """What the archive tells of itself."""

    figures_seconds: float = Field(
        default=60, ge=1, le=600, description="How often the figures of modalities and disk are gathered."
    )
    golden_signal: GoldenSignalSettings = GoldenSignalSettings()
    alerts_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Where Prometheus lists its alerts (http://127.0.0.1:9090/api/v1/alerts): the Status page tells "
        "them, and the monthly report counts them; null: neither does.",
    )
    runbook_folder: Path | None = Field(
        default=None,
        description="Where the runbooks of the alerts are, which the Status page shows; null: it shows none.",
    )
    report_folder: Path = Field(
        default=Path("/var/lib/pacs/plugins/reports"), description="Where monthly reports are kept."
    )
    report_languages: tuple[str, ...] = Field(
        default=(), description="Languages in which last month's report is made by itself, such as es; empty: in none."
    )
    reference_levels: tuple[ReferenceLevel, ...] = Field(
        default=(), description="The country's diagnostic reference levels; the first that fits a protocol counts."
    )
