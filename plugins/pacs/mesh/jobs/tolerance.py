"""Imported by a child before its first job: it takes files as they are, and says no value of theirs in a log."""

from __future__ import annotations

import logging

from pydicom import config

config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False
