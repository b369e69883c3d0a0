"""Deliveries survive a hundred breaks at random moments."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fixtures.orthanc_alone import OrthancAlone
from fixtures.routing_processes import Trials

pytest_plugins = ("fixtures.orthancs",)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_study_is_lost_doubled_or_falsely_proven_in_a_hundred_breaks(
    own_orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """Whatever is killed or cut whenever: every study arrives whole, once, and is proven only then."""
    seed = random.SystemRandom().randrange(10**6)
    trials = Trials(tmp_path, own_orthanc, seed=seed)
    trials.run(100)
    assert trials.kept() == set().union(*trials.expected.values()), f"seed {seed}"
