"""What every test may ask for."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import config

from fixtures.running_pacs import RunningPacs, running

CHECKOUT = Path(__file__).parents[1]
SHARED_DATA = CHECKOUT.parent / "shared" / "data"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case of bytes by its argument: packed bytes hold the time, and all workers must call a test the same."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPacs]:
    """One archive for all tests that only add to it and look at what they added."""
    with running(tmp_path_factory.mktemp("pacs")) as started:
        yield started


@pytest.fixture(scope="session")
def real_dicom() -> Path:
    """Return the folder of real studies that lies beside the checkout, where it does."""
    folder = SHARED_DATA / "dicom"
    if not folder.is_dir():
        pytest.skip(f"no real studies at {folder}")
    return folder


@pytest.fixture
def pydicom_as_before() -> Iterator[None]:
    """Give pydicom its voice back after a test of what silences it for a whole process."""
    logger, modes = logging.getLogger("pydicom"), config.settings
    before = logger.propagate, list(logger.handlers), modes.reading_validation_mode, modes.writing_validation_mode
    with warnings.catch_warnings():
        yield
    logger.propagate, logger.handlers[:] = before[0], before[1]
    modes.reading_validation_mode, modes.writing_validation_mode = before[2], before[3]
