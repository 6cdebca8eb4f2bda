from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_mongo_pool.retry.backoff import BASE, CAP, ceiling, pause

pytestmark = pytest.mark.core

shares = st.floats(0, 1, exclude_max=True)


def test_the_ceiling_doubles_up_to_a_second() -> None:
    assert [ceiling(failed) for failed in range(1, 8)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@given(st.integers(1, 10**9), shares)
def test_a_pause_lies_between_nothing_and_the_ceiling(failed: int, share: float) -> None:
    waited = pause(failed, lambda: share)
    assert 0 <= waited <= ceiling(failed) <= CAP
    assert waited == share * ceiling(failed)


@given(st.integers(1, 1000))
def test_the_ceiling_never_falls(failed: int) -> None:
    assert BASE <= ceiling(failed) <= ceiling(failed + 1)


@given(st.integers(1, 12))
def test_the_jitter_is_full(failed: int) -> None:
    waits = [pause(failed) / ceiling(failed) for _ in range(2000)]
    # Each tenth is met, and the middle is in the middle: 2,000 draws miss a tenth once in 10**91 times.
    assert {int(wait * 10) for wait in waits} == set(range(10))
    assert 0.45 < sum(waits) / len(waits) < 0.55
