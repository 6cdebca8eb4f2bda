"""Durations in buckets: counts exact, percentiles within a bucket of the truth."""

from __future__ import annotations

from bisect import bisect_left
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_mongo_pool.distribution import BOUNDS, Distribution, Recorder

pytestmark = pytest.mark.core

SECONDS = st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=200)


def recorded(durations: list[float]) -> Distribution:
    recorder = Recorder()
    for seconds in durations:
        recorder.record(seconds)
    return recorder.distribution()


@given(SECONDS)
def test_counts_sum_and_longest_are_exact(durations: list[float]) -> None:
    found = recorded(durations)
    assert found.count == len(durations)
    assert found.sum_seconds == pytest.approx(sum(durations))
    assert found.mean_seconds == pytest.approx(sum(durations) / len(durations))
    assert found.max_seconds == max(durations)
    for bound, cumulative in zip(BOUNDS, _cumulative(found), strict=False):
        assert cumulative == sum(seconds <= bound for seconds in durations)


@given(SECONDS, st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(durations: list[float], share: float) -> None:
    true = sorted(durations)[max(ceil(share * len(durations)) - 1, 0)]
    found = recorded(durations).quantile(share)
    bucket = bisect_left(BOUNDS, true)
    assert (BOUNDS[bucket - 1] if bucket else 0.0) <= found <= max(durations)
    assert bucket == len(BOUNDS) or found <= BOUNDS[bucket]


@given(SECONDS)
def test_quantiles_do_not_fall(durations: list[float]) -> None:
    found = recorded(durations)
    assert found.p50_seconds <= found.p95_seconds <= found.p99_seconds <= found.max_seconds


@given(SECONDS, SECONDS)
def test_parts_add_up_and_a_difference_takes_them_apart(earlier: list[float], later: list[float]) -> None:
    both = recorded(earlier + later)
    total = Distribution.total([recorded(earlier), recorded(later)])
    assert total.buckets == both.buckets
    assert total.sum_seconds == pytest.approx(both.sum_seconds)
    assert total.max_seconds == both.max_seconds
    difference = both.since(recorded(earlier))
    assert difference.buckets == recorded(later).buckets
    assert difference.sum_seconds == pytest.approx(sum(later), abs=1e-9)


def test_nothing_recorded_is_zero_everywhere() -> None:
    for nothing in (Distribution(), Distribution.total([]), recorded([])):
        assert nothing.as_dict() == {
            "count": 0,
            "sum_seconds": 0.0,
            "mean_seconds": 0.0,
            "max_seconds": 0.0,
            "p50_seconds": 0.0,
            "p95_seconds": 0.0,
            "p99_seconds": 0.0,
            "buckets": dict.fromkeys([*map(str, BOUNDS), "+Inf"], 0),
        }


def test_a_bound_belongs_to_its_bucket_and_what_is_longer_to_the_last() -> None:
    found = recorded([BOUNDS[0], BOUNDS[-1], BOUNDS[-1] * 2])
    assert (found.buckets[0], found.buckets[-2], found.buckets[-1]) == (1, 1, 1)


def _cumulative(found: Distribution) -> list[int]:
    totals, so_far = [], 0
    for number in found.buckets:
        so_far += number
        totals.append(so_far)
    return totals
