from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_mongo_pool.retry.budget import CAPACITY, REFILL, RESERVE, SHARE, RetryBudget

from .fakes import Clock

pytestmark = pytest.mark.core

steps = st.lists(
    st.one_of(st.just("deposit"), st.just("withdraw"), st.floats(-5, 60), st.integers(100, 1000)), max_size=300
)


@given(steps)
def test_it_is_never_negative_nor_above_its_capacity_and_keeps_the_law(done: list[object]) -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    began, latest = clock.now, clock.now
    operations = retries = 0
    for step in done:
        if step == "deposit":
            budget.deposit()
            operations += 1
        elif step == "withdraw":
            retries += budget.withdraw()
        elif isinstance(step, int):
            for _ in range(step):
                budget.deposit()
            operations += step
        else:
            # Threads read the clock and then get the lock in another order.
            assert isinstance(step, float)
            clock.now += step
            latest = max(latest, clock.now)
        assert 0 <= budget.tokens() <= CAPACITY
        assert retries <= RESERVE + SHARE * operations + REFILL * (latest - began) + 1e-6


def test_at_first_the_reserve_is_there() -> None:
    budget = RetryBudget(Clock())
    assert [budget.withdraw() for _ in range(11)] == [True] * 10 + [False]


def test_five_operations_earn_a_retry() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    while budget.withdraw():
        pass
    for _ in range(5):
        assert not budget.withdraw()
        budget.deposit()
    assert budget.withdraw()
    assert not budget.withdraw()


def test_the_reserve_comes_back_with_time_and_no_more_than_the_reserve() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    while budget.withdraw():
        pass
    clock.now += 1
    assert budget.withdraw()
    assert not budget.withdraw()
    clock.now += 3600
    assert budget.tokens() == RESERVE


def test_what_was_earned_is_kept_up_to_the_capacity() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    for _ in range(10_000):
        budget.deposit()
    clock.now += 3600
    assert budget.tokens() == CAPACITY


def test_a_clock_that_was_read_before_takes_nothing_back() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    for _ in range(9):
        budget.withdraw()
    clock.now -= 5
    assert budget.tokens() == 1
    clock.now += 5
    # Nor does it give the same seconds twice.
    assert budget.tokens() == 1


def test_threads_take_out_no_more_than_there_is() -> None:
    budget = RetryBudget(Clock())
    for _ in range(10_000):
        budget.deposit()
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: sum(budget.withdraw() for _ in range(200)), range(8)))
    assert sum(taken) == CAPACITY
    assert budget.tokens() == 0
