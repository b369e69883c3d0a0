"""The settings: one typed tree, read from the section "Pacs" of Orthanc's configuration.

Unknown keys are refused, and all faults are told together, each with its place and its cure, before anything starts.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal
from pydantic_core import ErrorDetails

from pacs.access.settings import AccessSettings
from pacs.backup.overview import BackupsSettings
from pacs.decoding.settings import DecodingSettings
from pacs.errors import SettingsError
from pacs.hl7.outbound.settings import OutboundSettings
from pacs.hl7.settings import Hl7Settings
from pacs.mesh.settings import MeshSettings
from pacs.monitoring.settings import MonitoringSettings
from pacs.mpps.settings import MppsSettings
from pacs.routing.settings import RoutingSettings
from pacs.web.settings import WebSettings
from pacs.worklist.settings import WorklistSettings

# The password of an address such as postgresql://user:password@host/database.
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*@")


class Section(BaseModel):
    """A part of the tree: keys in PascalCase as in the rest of Orthanc's configuration."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="forbid", frozen=True, validate_default=True)


class DatabaseSettings(Section):
    """Where the plugins keep their own state."""

    url: str = Field(
        default="sqlite:////var/lib/pacs/plugins/pacs.db",
        pattern=r"^(sqlite:///|postgresql\+psycopg://)",
        description="SQLAlchemy URL: sqlite:////path/pacs.db, or postgresql+psycopg://user:password@host/database.",
    )


class Settings(Section):
    """Everything that can be set for the plugins."""

    access: AccessSettings = AccessSettings()
    backup: BackupsSettings = BackupsSettings()
    database: DatabaseSettings = DatabaseSettings()
    decoding: DecodingSettings = DecodingSettings()
    hl7: Hl7Settings = Hl7Settings()
    mesh: MeshSettings = MeshSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    mpps: MppsSettings = MppsSettings()
    outbound: OutboundSettings = OutboundSettings()
    routing: RoutingSettings = RoutingSettings()
    web: WebSettings = WebSettings()
    worklist: WorklistSettings = WorklistSettings()


def parse_settings(section: Mapping[str, Any]) -> Settings:
    """Return the settings that the section "Pacs" holds. Raise SettingsError with every fault of it."""
    try:
        return Settings.model_validate(section)
    except ValidationError as error:
        raise SettingsError([_describe(fault) for fault in error.errors()]) from None


def _describe(fault: ErrorDetails) -> str:
    """Say in one line where a fault is, what was found, what was expected and what to do."""
    place = ".".join(["Pacs", *map(str, fault["loc"])])
    if fault["type"] == "extra_forbidden":
        known = _keys_at(fault["loc"][:-1])
        close = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1, cutoff=0.5)
        cure = f'did you mean "{close[0]}"?' if close else f"known here: {', '.join(known) or 'nothing'}."
        return f"{place}: unknown key; {cure}"
    found = _PASSWORD.sub(r"\1***@", json.dumps(fault["input"], default=str, ensure_ascii=False))
    return f"{place}: found {found}; {fault['msg'][0].lower()}{fault['msg'][1:]}."


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that may stand at a place of the tree."""
    model: Any = Settings
    for step in location:
        fields = {field.alias: field.annotation for field in model.model_fields.values()}
        model = fields.get(str(step))
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
    return sorted(str(field.alias) for field in model.model_fields.values())


def main() -> None:
    """Print every setting with its default and meaning: `python -m pacs.settings`."""
    for line in _listed(Settings, "", Settings()):
        sys.stdout.write(f"{line}\n")


def _listed(model: type[BaseModel], place: str, defaults: BaseModel | None) -> Iterator[str]:
    """Yield the lines that tell a part of the tree; `defaults` is None for what each name or entry has of its own."""
    for name, field in model.model_fields.items():
        key = f"{place}{field.alias}"
        default = field.default if defaults is None else getattr(defaults, name)
        if isinstance(default, BaseModel):
            yield key
            yield f"    {field.description or default.__doc__}"
            yield from _listed(type(default), f"{key}.", default)
            continue
        yield f"{key} = {'(needed)' if field.is_required() else json.dumps(default, default=str)}"
        yield f"    {field.description}"
        for step, below in _models_below(field.annotation):
            yield from _listed(below, key + step, None)


def _models_below(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the models whose keys stand below a field of this type, each after what stands between."""
    between = {dict: ".<name>.", tuple: "[]."}.get(get_origin(annotation), ".")
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield between, kind


if __name__ == "__main__":
    main()
