"""What counts as growth, on samples made here."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from .sample import LIMITS
from .slopes import FEWEST, Limit, judge, theil_sen

if TYPE_CHECKING:
    from collections.abc import Callable

HOURS = [place * 20 / 3600 for place in range(75)]
BY_NAME = {limit.name: limit for limit in LIMITS}
COUNTS = [name for name in BY_NAME if name not in ("memory", "blocks", "objects")]


def points(value: Callable[[float], float], noise: float = 0.0, seed: int = 1) -> list[tuple[float, float]]:
    """25 minutes of samples, one every 20 s."""
    chance = random.Random(seed)
    return [(hour, value(hour) + chance.gauss(0, noise)) for hour in HOURS]


@settings(max_examples=20)
@given(some.integers(-1000, 1000), some.integers(-1000, 1000))
def test_the_slope_of_a_line_is_its_own(slope: int, start: int) -> None:
    found = theil_sen(points(lambda hour: start + slope * hour))
    assert found.middle == pytest.approx(slope, abs=1e-6)
    assert found.low == pytest.approx(slope, abs=1e-6)
    assert found.high == pytest.approx(slope, abs=1e-6)


def test_the_interval_holds_the_slope_although_a_quarter_of_the_samples_is_wild() -> None:
    for seed in range(10):
        chance = random.Random(seed)
        straight = points(lambda hour: 30 + 5 * hour, noise=0.1, seed=seed)
        wild = [(hour, value + (40 if chance.random() < 0.25 else 0)) for hour, value in straight]
        found = theil_sen(wild)
        assert found.low <= 5 <= found.high
        assert found.middle == pytest.approx(5, abs=1.5)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_noise_is_flat(name: str) -> None:
    for seed in range(10):
        assert judge(BY_NAME[name], points(lambda _: 50, noise=1.0, seed=seed)).flat


@pytest.mark.parametrize("name", COUNTS)
def test_a_thing_left_every_five_minutes_is_growth(name: str) -> None:
    verdict = judge(BY_NAME[name], points(lambda hour: 9 + int(hour * 12)))
    assert not verdict.flat
    assert verdict.last - verdict.first > 2


@pytest.mark.parametrize("name", COUNTS)
def test_one_step_is_none(name: str) -> None:
    assert judge(BY_NAME[name], points(lambda hour: 9 + (hour > 0.2))).flat


@pytest.mark.parametrize("name", ["memory", "heap", "blocks", "objects"])
def test_memory_may_grow_by_less_than_its_limit_an_hour(name: str) -> None:
    limit = BY_NAME[name]
    # In half an hour a slope is seen from its limit on, or from where it makes more than the step.
    least = max(limit.per_hour, limit.step / (HOURS[-1] * 2 / 3))
    for seed in range(10):
        for factor, flat in ((0.5, True), (1.5, False)):
            grown = points(lambda hour, slope=factor * least: 35 + slope * hour, limit.step / 4, seed)  # type: ignore[misc]
            assert judge(limit, grown).flat is flat


def test_an_object_for_every_two_hundred_operations_is_growth() -> None:
    # 60 operations a second, which is slow.
    leaked = 60 * 3600 / 200
    for seed in range(10):
        assert not judge(BY_NAME["objects"], points(lambda hour: 50_000 + leaked * hour, 60, seed)).flat


def test_all_three_must_be_true_at_once() -> None:
    rising = points(lambda hour: 9 + 6 * hour)
    rise = judge(Limit("x", "", step=0), rising)
    assert not rise.flat
    assert 1 < rise.last - rise.first < 2
    assert not judge(Limit("x", "", step=1, per_hour=5), rising).flat
    assert judge(Limit("x", "", step=2, per_hour=5), rising).flat
    assert judge(Limit("x", "", step=1, per_hour=7), rising).flat


def test_what_falls_is_flat() -> None:
    assert judge(Limit("x", "", step=0), points(lambda hour: 50 - 10 * hour)).flat


def test_few_samples_are_not_judged() -> None:
    limit = Limit("x", "", step=0)
    rising = points(lambda hour: 100 * hour)
    assert judge(limit, rising[: FEWEST - 1]).slope is None
    assert judge(limit, rising[: FEWEST - 1]).flat
    assert not judge(limit, rising[:FEWEST]).flat
    assert judge(limit, []).flat
