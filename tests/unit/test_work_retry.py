"""`RetryPolicy`: how long a failed item waits, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacs.work import RetryPolicy

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(("attempts", "delay"), [(1, 2), (2, 6), (3, 18), (4, 54), (5, 60), (6, 60), (100_000, 60)])
def test_delay_grows_by_the_factor_up_to_the_longest(attempts: int, delay: float) -> None:
    """Without jitter the delays are exactly first, first x factor ... and never above the longest."""
    policy = RetryPolicy(first_delay_seconds=2, factor=3, max_delay_seconds=60, jitter=0)
    assert policy.delay_seconds(attempts) == delay


@given(st.integers(1, 10_000), st.floats(0, 0.99), st.floats(0.1, 10), st.floats(1, 5), st.floats(10, 3600))
def test_delay_stays_within_the_jitter(
    attempts: int, jitter: float, first: float, factor: float, longest: float
) -> None:
    """Whatever the policy, a delay is never further from the plain one than the jitter says."""
    plain = RetryPolicy(first, factor, longest, jitter=0).delay_seconds(attempts)
    delay = RetryPolicy(first, factor, longest, jitter=jitter).delay_seconds(attempts)
    assert plain * (1 - jitter) <= delay * (1 + 1e-9)
    assert delay <= plain * (1 + jitter) * (1 + 1e-9)


def test_jitter_spreads_items_that_failed_together() -> None:
    """A hundred items don't come back at the same moment."""
    policy = RetryPolicy(first_delay_seconds=100, max_delay_seconds=100, jitter=0.2)
    delays = [policy.delay_seconds(1) for _ in range(100)]
    assert len(set(delays)) > 90
    assert max(delays) - min(delays) > 20


@pytest.mark.parametrize(
    ("policy", "attempts", "age_seconds", "given_up"),
    [
        (RetryPolicy(max_attempts=3), 2, 10**9, False),
        (RetryPolicy(max_attempts=3), 3, 0, True),
        (RetryPolicy(max_attempts=3), 4, 0, True),
        (RetryPolicy(max_attempts=1), 1, 0, True),
        (RetryPolicy(max_attempts=None, max_age_seconds=60), 10**6, 59.9, False),
        (RetryPolicy(max_attempts=None, max_age_seconds=60), 1, 60, True),
        (RetryPolicy(max_attempts=5, max_age_seconds=60), 5, 1, True),
        (RetryPolicy(max_attempts=5, max_age_seconds=60), 1, 61, True),
        (RetryPolicy(max_attempts=None), 10**6, 10**9, False),
    ],
)
def test_item_is_given_up_by_attempts_or_age(
    policy: RetryPolicy,
    attempts: int,
    age_seconds: float,
    given_up: bool,  # noqa: FBT001
) -> None:
    """Either limit is enough; without limits it is tried for ever."""
    assert policy.gives_up(attempts, NOW - timedelta(seconds=age_seconds), NOW) is given_up


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"first_delay_seconds": 0}, "first_delay_seconds"),
        ({"factor": 0.5}, "factor"),
        ({"first_delay_seconds": 10, "max_delay_seconds": 5}, "max_delay_seconds"),
        ({"jitter": 1}, "jitter"),
        ({"jitter": -0.1}, "jitter"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_age_seconds": 0}, "max_age_seconds"),
        ({"factor": 0, "jitter": 2}, "factor must be at least 1; jitter"),
    ],
)
def test_policy_refuses_values_out_of_range(arguments: dict[str, float], words: str) -> None:
    """All mistakes of a policy are told together, when it is made."""
    with pytest.raises(ValueError, match=words):
        RetryPolicy(**arguments)  # type: ignore[arg-type]
