"""Deliveries survive what breaks: kill -9 of the sender, of the archive, of the target, and a cut line, at random."""

from __future__ import annotations

from pathlib import Path

from fixtures.orthanc_alone import OrthancAlone
from fixtures.routing_processes import Trials

pytest_plugins = ("fixtures.orthancs",)


def test_no_study_is_lost_doubled_or_falsely_proven_when_things_break_at_random(
    own_orthanc: OrthancAlone, tmp_path: Path
) -> None:
    """Twenty breaks: every study arrives whole, once, and none is called proven before it is."""
    trials = Trials(tmp_path, own_orthanc, seed=6)
    trials.run(20)
    assert trials.kept() == set().union(*trials.expected.values())
