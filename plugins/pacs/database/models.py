"""Every module that declares tables, in one list: importing this module fills `Base.metadata`.

Migrations compare the database with this metadata, so a module that is missing here has no tables.
"""

from __future__ import annotations

import importlib

from pacs.database.base import Base

MODULES_WITH_TABLES = [
    "pacs.hl7.decisions",
    "pacs.hl7.models",
    "pacs.hl7.rehearse.models",
    "pacs.monitoring.models",
    "pacs.mpps.models",
    "pacs.routing.decisions.models",
    "pacs.routing.delivery.models",
    "pacs.studies.models",
    "pacs.work.models",
    "pacs.worklist.models",
]

for _module in MODULES_WITH_TABLES:
    importlib.import_module(_module)

metadata = Base.metadata
