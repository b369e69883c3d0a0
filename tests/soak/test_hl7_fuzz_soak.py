"""The same promise as in tests/unit/test_hl7_corpus.py, a million times: some minutes."""

from __future__ import annotations

import random

import pytest

from fixtures.hl7_messages import REAL_HL7, answered, corpus, fictitious, mutated

MUTATIONS = 100_000


@pytest.mark.parametrize("seed", range(10))
def test_damaged_messages_are_answered_a_million_times(seed: int) -> None:
    """No crash, one answer each with the message's own control id."""
    messages = [message.raw for message in corpus()] if REAL_HL7.is_dir() else fictitious()
    chance = random.Random(seed)
    for _ in range(MUTATIONS):
        raw = mutated(chance, messages)
        found = answered(raw)
        assert found.received.code == found.code, raw
        assert found.returned_control_id == found.expected_control_id, raw
