"""Distributions as single durations, and counts that survive their client."""

from __future__ import annotations

from itertools import chain, repeat
from math import inf, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_mongo_pool.distribution import BOUNDS
from async_mongo_pool.exporters.growth import Growth
from async_mongo_pool.exporters.replay import durations

from .snapshots import distribution

pytestmark = pytest.mark.core

JUST_ABOVE = tuple(nextafter(bound, inf) for bound in BOUNDS)
seconds = st.one_of(st.sampled_from(BOUNDS + JUST_ABOVE), st.floats(0, 100, allow_subnormal=False))


@given(st.lists(seconds), st.lists(seconds))
def test_the_durations_make_the_same_distribution(before: list[float], after: list[float]) -> None:
    earlier = distribution(*before)
    added = distribution(*before, *after).since(earlier)
    made = distribution(*chain.from_iterable(repeat(value, times) for value, times in durations(added)))
    assert made.buckets == added.buckets
    assert made.sum_seconds == pytest.approx(added.sum_seconds, rel=1e-9, abs=1e-9)
    assert made.max_seconds <= max(added.max_seconds, 1e-12)


def test_growth_is_what_was_added_since_the_last_look() -> None:
    growth = Growth()
    assert growth.of("checkouts", 1.0, 5) == 5
    assert growth.of("checkouts", 1.0, 7) == 2
    assert growth.of("clears", 1.0, 1) == 1
    assert growth.of("wait", 1.0, distribution(0.1)) == distribution(0.1)
    assert growth.of("wait", 1.0, distribution(0.1, 0.1)) == distribution(0.1)


def test_the_counts_of_another_client_start_at_zero() -> None:
    growth = Growth()
    growth.of("checkouts", 1.0, 5)
    assert growth.of("checkouts", 2.0, 6) == 6
    growth.of("wait", 1.0, distribution(0.1, 0.1))
    assert growth.of("wait", 2.0, distribution(0.1)) == distribution(0.1)
