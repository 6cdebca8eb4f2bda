"""Distributions as single durations, and counts that survive their client."""

from __future__ import annotations

from itertools import chain, repeat
from math import inf, nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_mongo_pool.distribution import BOUNDS, Distribution
from async_mongo_pool.exporters.growth import Growth
from async_mongo_pool.exporters.replay import Backlog, durations

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


def test_a_count_that_is_corrected_downwards_gains_nothing_until_it_is_greater_again() -> None:
    growth = Growth()
    assert [growth.of("closed", 1.0, count) for count in (5, 3, 4, 6)] == [5, 0, 0, 1]
    assert [growth.level("created", 1.0, count) for count in (5, 3, 4, 6)] == [5, 5, 5, 6]
    assert growth.level("created", 2.0, 1) == 1, "another client starts at zero"


@given(st.lists(st.lists(seconds)))
def test_durations_never_leave_a_bucket_and_are_no_more_than_there_ever_were(looks: list[list[float]]) -> None:
    growth, other = Growth(), Growth()
    reported = distribution()
    most, greatest = 0, 0.0
    for look in looks:
        now = distribution(*look)
        gained = growth.of("wait", 1.0, now)
        assert isinstance(gained, Distribution)
        assert min(gained.buckets) >= 0
        assert gained.sum_seconds >= 0
        reported = Distribution.total((reported, gained))
        most, greatest = max(most, now.count), max(greatest, now.sum_seconds)
        level = other.level("wait", 1.0, now)
        assert isinstance(level, Distribution)
        assert level.buckets == reported.buckets
        assert level.sum_seconds == greatest == pytest.approx(reported.sum_seconds)
        assert level.count == most


def test_series_that_are_not_kept_begin_anew() -> None:
    growth = Growth()
    growth.of("checkouts", 1.0, 5)
    growth.of("clears", 1.0, 5)
    growth.keep_only(["clears"])
    assert (growth.of("checkouts", 1.0, 5), growth.of("clears", 1.0, 5)) == (5, 0)


@given(st.lists(seconds), st.lists(seconds), st.integers(1, 7))
def test_a_backlog_loses_no_duration(first: list[float], second: list[float], most: int) -> None:
    backlog = Backlog()
    taken: dict[str, list[float]] = {"first": [], "second": []}
    backlog.add("first", taken["first"].append, distribution(*first[:2]))
    backlog.add("first", taken["first"].append, distribution(*first[2:]))
    backlog.add("second", taken["second"].append, distribution(*second))
    while backlog:
        now = list(backlog.take(most))
        assert 1 <= len(now) <= most
        for record, duration in now:
            record(duration)
    for name, expected in (("first", first), ("second", second)):
        made, wanted = distribution(*taken[name]), distribution(*expected)
        assert made.buckets == wanted.buckets
        assert made.sum_seconds == pytest.approx(wanted.sum_seconds, rel=1e-9, abs=1e-9)


def test_a_series_that_never_ends_does_not_keep_the_others_waiting() -> None:
    backlog = Backlog()
    endless: list[float] = []
    short: list[float] = []
    backlog.add("endless", endless.append, distribution(*[0.1] * 50))
    backlog.add("short", short.append, distribution(0.1))
    for most in (10, 2):
        for record, duration in backlog.take(most):
            record(duration)
        assert len(endless) + len(short) == (10 if most == 10 else 12)
        backlog.add("endless", endless.append, distribution(*[0.1] * 50))
    assert (len(endless), len(short)) == (11, 1)
