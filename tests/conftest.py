"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
