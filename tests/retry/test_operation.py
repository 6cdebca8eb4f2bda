"""Time limits around a block, without a server: what the driver would see."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool
from async_mongo_pool.retry.alarm import Alarm
from async_mongo_pool.retry.operation import OperationLimit, deadline_around

from .fakes import Bench, Failing, nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.core


def left() -> float:
    end = deadline_around()
    assert end is not None
    return end - time.monotonic()


@pytest.mark.parametrize("pool", [AsyncMongoDBConnectionPool, MongoDBConnectionPool])
async def test_both_kinds_of_with_do_the_same(pool: Any) -> None:
    limit = pool.operation(timeout=5)
    with limit as entered:
        assert entered is limit
        assert 4 < left() <= 5
    assert deadline_around() is None
    async with limit:
        assert 4 < left() <= 5
    assert deadline_around() is None
    assert repr(limit) == "<OperationLimit of 5 s>"


@pytest.mark.parametrize(("outer", "inner"), [(5, 50), (50, 5)])
def test_of_nested_ones_the_least_holds(outer: float, inner: float) -> None:
    with MongoDBConnectionPool.operation(timeout=outer):
        with MongoDBConnectionPool.operation(timeout=inner):
            assert 4 < left() <= 5
        assert outer - 1 < left() <= outer


def test_the_drivers_own_limit_counts_too() -> None:
    with pymongo.timeout(5), MongoDBConnectionPool.operation(timeout=50):
        assert 4 < left() <= 5


def test_an_error_passes_and_the_limit_ends() -> None:
    with pytest.raises(ValueError, match="own"), MongoDBConnectionPool.operation(timeout=5):
        raise ValueError("own")
    assert deadline_around() is None


async def test_one_limit_serves_tasks_and_threads_at_once() -> None:
    limit = OperationLimit(50, nothing)
    inside: list[float] = []
    full = asyncio.Event()

    async def work(seconds: float) -> None:
        async with limit, limit:
            inside.append(seconds)
            if len(inside) == 20:
                full.set()
            # All of them are inside before the first one leaves.
            await full.wait()
            assert 40 < left() <= 50
            await asyncio.sleep(seconds)
        assert deadline_around() is None

    def block() -> None:
        with limit:
            assert 40 < left() <= 50
        assert deadline_around() is None

    await asyncio.gather(*(work((number * 7 % 20) / 1000) for number in range(20)))
    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(block) for _ in range(20)]:
            each.result()


async def test_a_block_that_is_left_in_a_task_made_inside_it_raises_nothing() -> None:
    async def generate() -> AsyncIterator[int]:
        with OperationLimit(50, nothing):
            yield 1

    generator = generate()
    assert await anext(generator) == 1
    # wait_for of Python 3.11 closes it in a task of its own.
    await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]


async def test_a_block_that_is_left_in_another_context_disturbs_nobody() -> None:
    async def generate() -> AsyncIterator[int]:
        with OperationLimit(1, nothing):
            yield 1

    generator = generate()
    entered = asyncio.ensure_future(anext(generator))
    assert await entered == 1
    with OperationLimit(5, nothing):
        # In this task the generator's limit was never in force.
        await generator.aclose()  # type: ignore[attr-defined]
        assert 4 < left() <= 5


def test_an_attempt_gets_what_remains_of_the_deadline() -> None:
    seen: list[float] = []
    bench = Bench()

    def function() -> None:
        seen.append(left())
        bench.clock.now += 4
        if len(seen) < 3:
            raise pymongo.errors.AutoReconnect("lost")

    bench.run(function, idempotent=True, deadline=60)
    first, second, third = seen
    assert first == pytest.approx(60, abs=1)
    assert second == pytest.approx(60 - 4.025, abs=1)
    assert third == pytest.approx(60 - 8.075, abs=1)
    assert deadline_around() is None


@pytest.mark.parametrize("overslept", [1.0, 10.0])
def test_a_pause_that_overran_the_deadline_leaves_no_attempt_without_a_limit(overslept: float) -> None:
    seen: list[float] = []
    bench = Bench()
    sleep = bench.clock.sleep
    # 0 seconds are no limit for the driver, and a negative number is an error.
    bench.clock.sleep = lambda seconds: sleep(overslept)  # type: ignore[method-assign]

    def function() -> None:
        seen.append(left())
        raise pymongo.errors.AutoReconnect("lost")

    with pytest.raises(pymongo.errors.AutoReconnect):
        bench.run(function, idempotent=True, deadline=1)
    assert len(seen) == 2
    assert seen[1] <= 0.001


def test_without_a_deadline_the_driver_keeps_its_own_limits() -> None:
    seen: list[float | None] = []
    Bench().run(lambda: seen.append(deadline_around()))
    assert seen == [None]


def test_a_limit_around_run_bounds_its_pauses() -> None:
    bench = Bench()
    function = Failing(*[pymongo.errors.AutoReconnect("lost") for _ in range(99)])
    # The fake clock and the driver's have to agree here.
    bench.clock.now = time.monotonic()
    began = bench.clock.now
    with OperationLimit(1, nothing), pytest.raises(pymongo.errors.AutoReconnect):
        bench.run(function, idempotent=True, attempts=99, deadline=60)
    assert 0.5 < bench.clock.now - began < 1
    assert bench.state.stats().given_up["deadline"] == 1


def test_the_alarm_calls_back_once_and_only_what_was_not_taken_back(wait_until: Callable[..., Any]) -> None:
    alarm = Alarm()
    rang: list[tuple[str, float]] = []
    began = time.monotonic()

    def note(name: str) -> Callable[[], None]:
        return lambda: rang.append((name, time.monotonic() - began))

    def fail() -> None:
        raise ValueError("own")

    alarm.set(began + 0.3, note("late"))
    # The thread sleeps until then; what is due before has to wake it.
    wait_until(lambda: alarm._wakes_at > began + 0.25)
    taken_back = alarm.set(began + 0.2, note("taken back"))
    alarm.set(began, fail)
    alarm.set(began + 0.05, note("early"))
    alarm.stop(taken_back)
    wait_until(lambda: len(rang) == 2)
    (first, early), (second, late) = rang
    assert (first, second) == ("early", "late")
    assert 0.05 <= early < 0.25
    assert late >= 0.3
    wait_until(lambda: alarm._thread is None)
    # It starts again when it is needed again.
    alarm.set(0, note("again"))
    wait_until(lambda: len(rang) == 3)


def test_a_limit_that_ends_makes_the_driver_look_and_one_that_is_left_does_not(
    wait_until: Callable[..., Any],
) -> None:
    rang: list[int] = []
    with OperationLimit(0.05, lambda: rang.append(1)):
        pass
    with OperationLimit(0.1, lambda: rang.append(2)):
        wait_until(lambda: rang)
    assert rang == [2]
