"""How many workers are hot, and how results come home: the rules behind the speed."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_mongo_pool.backends.admission import MotorAdmission
from async_mongo_pool.backends.admission.mailbox import Mailbox
from async_mongo_pool.backends.admission.operation import Operation
from async_mongo_pool.backends.admission.throttle import FEWEST, SOME, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from .desk import Desk

    MakeDesk = Callable[..., Desk]
    WaitUntil = Callable[..., Any]

pytestmark = pytest.mark.core


class Result(Operation):
    """An operation that is only taken home."""

    def __init__(self, meanwhile: Callable[[], object] = int) -> None:
        self.settled = asyncio.Event()
        self._meanwhile = meanwhile

    def settle(self) -> None:
        self._meanwhile()
        self.settled.set()


class Clock:
    """Looks at a throttle each millisecond, with the figures of an imagined load."""

    def __init__(self) -> None:
        self.throttle = Throttle()
        self.now = 1.0
        self.busy = 0.0
        self.completed = 0
        self.look(0, 0)

    def look(self, share: float, ended: int, *, waiting: bool = True) -> float:
        self.now += 0.001
        self.busy += share * 0.001
        self.completed += ended
        self.throttle.look(self.now, self.busy, self.completed, 100, waiting=waiting)
        return self.throttle.allowed


def test_operations_that_keep_the_interpreter_busy_get_few_workers() -> None:
    clock = Clock()
    assert {clock.look(1.0, 5) for _ in range(200)} == {FEWEST}


def test_operations_that_wait_for_the_server_all_start_within_milliseconds() -> None:
    clock = Clock()
    looks = next(number for number in range(1, 50) if clock.look(0.1, 0) >= 100)
    assert looks <= 6


def test_while_some_end_only_some_more_are_started() -> None:
    clock = Clock()
    assert max(clock.look(0.6, 2) for _ in range(200)) == SOME


def test_an_interpreter_that_is_mostly_idle_gets_more_to_do() -> None:
    """Operations of some milliseconds: some end all the time, and more at once would do no harm."""
    clock = Clock()
    looks = next(number for number in range(1, 200) if clock.look(0.3, 2) >= 100)
    assert looks < 30


def test_many_hot_workers_become_few_once_they_only_quarrel() -> None:
    clock = Clock()
    while clock.look(0.1, 0) < 100:
        pass
    # Not at once: a burst of slow operations also takes all of the processor for a moment.
    assert min(clock.look(1.0, 3) for _ in range(30)) > 80
    looks = next(number for number in range(1, 5000) if clock.look(1.0, 3) == FEWEST)
    assert looks < 1000


@given(st.lists(st.tuples(st.floats(0, 4), st.integers(0, 10), st.booleans()), max_size=100))
def test_the_number_stays_between_the_fewest_and_the_limit(looks: list[tuple[float, int, bool]]) -> None:
    clock = Clock()
    for share, ended, waiting in looks:
        assert FEWEST <= clock.look(share, ended, waiting=waiting) <= 100


async def test_slow_operations_start_all_at_once_also_after_fast_ones(
    make_desk: MakeDesk, wait_until_async: WaitUntil
) -> None:
    desk = make_desk(100)

    async def fast() -> None:
        for _ in range(20):
            await desk.admission.submit(int)

    await asyncio.gather(*(fast() for _ in range(100)))
    results = [desk.submit(number) for number in range(100)]
    await wait_until_async(lambda: len(desk.started) == 100, 2)
    desk.open_all()
    await asyncio.gather(*results)


async def test_fast_operations_run_on_a_handful_of_workers(make_desk: MakeDesk) -> None:
    desk = make_desk(100)

    async def user() -> None:
        for _ in range(100):
            await desk.admission.submit(int)

    await asyncio.gather(*(user() for _ in range(100)))
    assert desk.admission.stats().workers <= 2 * SOME


async def test_fast_operations_are_served_beside_slow_ones(make_desk: MakeDesk) -> None:
    desk = make_desk(50)
    slow = [desk.submit(number) for number in range(40)]
    async with asyncio.timeout(5):
        for _ in range(20):
            await asyncio.gather(*(desk.admission.submit(int) for _ in range(100)))
    desk.open_all()
    await asyncio.gather(*slow)


async def test_resting_workers_cost_no_processor_time(make_desk: MakeDesk, wait_until_async: WaitUntil) -> None:
    desk = make_desk(200)
    results = [desk.submit(number) for number in range(200)]
    await wait_until_async(lambda: len(desk.started) == 200)
    desk.open_all()
    await asyncio.gather(*results)
    await wait_until_async(lambda: desk.admission.stats().busy == 0)
    before = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - before < 0.1


async def test_results_of_one_moment_come_home_with_one_wake_up(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(1)
    loop = asyncio.get_running_loop()
    await desk.admission.submit(int)
    wakings = 0
    call = loop.call_soon_threadsafe

    def counted(*arguments: Any, **keywords: Any) -> Any:
        nonlocal wakings
        wakings += 1
        return call(*arguments, **keywords)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    results = [desk.admission.submit(int) for _ in range(50)]
    # The loop does not get to anything meanwhile.
    while desk.admission.in_progress():
        time.sleep(0.001)  # noqa: ASYNC251
    assert not any(result.done() for result in results)
    assert await asyncio.gather(*results) == [0] * 50
    assert wakings <= 2


async def test_a_result_that_arrives_while_others_are_taken_home_wakes_the_loop_again() -> None:
    mailbox = Mailbox(asyncio.get_running_loop(), MotorAdmission("Desk", lambda: 1))
    late = Result()
    early = Result(lambda: mailbox.post(late))
    mailbox.post(early)
    async with asyncio.timeout(5):
        await late.settled.wait()


async def test_results_held_for_a_batch_come_home_with_the_next_look(make_desk: MakeDesk) -> None:
    desk = make_desk(1)
    slow = [desk.submit(number) for number in range(20)]
    # Plenty wait, so the loop is not woken for a single result.
    desk.open_all()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*slow) == list(range(20))


def test_no_result_is_lost_between_threads_and_several_loops(wait_until: Callable[..., None]) -> None:
    admission = MotorAdmission("Desk", lambda: 8)
    done: list[int] = []

    async def user(number: int) -> None:
        for _ in range(300):
            async with asyncio.timeout(10):
                assert await admission.submit(lambda: number) == number

    async def users(first: int) -> None:
        await asyncio.gather(*(user(first + each) for each in range(20)))
        done.append(first)

    threads = [threading.Thread(target=asyncio.run, args=(users(100 * each),), daemon=True) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == [0, 100, 200, 300]
    assert admission.in_progress() == 0
    assert admission.stats().wait.count == 4 * 20 * 300
    admission.stop()


async def test_ten_thousand_at_once_all_get_their_turn(make_desk: MakeDesk) -> None:
    desk = make_desk(10)
    async with asyncio.timeout(30):
        assert await asyncio.gather(*(desk.admission.submit(int) for _ in range(10_000))) == [0] * 10_000


def test_a_worker_that_rests_after_its_loop_died_leaves_nobody_waiting(
    make_desk: MakeDesk, wait_until: Callable[..., None]
) -> None:
    """Fewer workers may be hot than run: it rests although another loop's operation waits."""
    desk = make_desk(6)
    gate = threading.Event()

    async def leave() -> None:
        desk.submit("of the dead loop", gate)

    asyncio.run(leave())

    async def others() -> None:
        throttle = desk.admission._schedule.throttle
        throttle.allowed = 100
        running = [desk.submit(number) for number in range(5)]
        waiting = desk.submit("waiting", gate)
        throttle.allowed = FEWEST
        gate.set()
        async with asyncio.timeout(5):
            assert await waiting == "waiting"
        desk.open_all()
        await asyncio.gather(*running)

    asyncio.run(others())
    wait_until(lambda: desk.admission.in_progress() == 0)


def test_a_loop_that_died_with_operations_in_the_line_leaves_nothing(
    make_desk: MakeDesk, wait_until: Callable[..., None]
) -> None:
    desk = make_desk(1)
    gate = threading.Event()

    async def leave() -> None:
        desk.submit("running", gate)
        for number in range(5):
            desk.submit(number)

    async def after() -> Any:
        return await desk.submit("after")

    asyncio.run(leave())
    wait_until(lambda: desk.started == ["running"])
    gate.set()
    desk.open_all()
    assert asyncio.run(after()) == "after"
    # Nobody waits for them any more, so they are not run.
    assert desk.started == ["running", "after"]
    assert desk.admission.in_progress() == 0
