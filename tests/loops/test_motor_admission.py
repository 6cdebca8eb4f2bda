"""The queue and the workers in front of Motor's connections, without a server."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool import PoolClosingError, PoolLoopError
from async_mongo_pool.backends.admission import MotorAdmission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.core


class Desk:
    """An admission with a limit that a test may change, and calls that a test can hold up."""

    def __init__(self) -> None:
        self.limit = 1
        self.admission = MotorAdmission("Desk", lambda: self.limit)
        self.started: list[Any] = []
        self.go_on = threading.Event()

    def submit(self, name: Any) -> asyncio.Future[Any]:
        """A call that notes its start and then waits until the test lets it go on."""
        return self.admission.submit(partial(self._call, name))

    def _call(self, name: Any) -> Any:
        self.started.append(name)
        assert self.go_on.wait(10)
        return name


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.go_on.set()
    made.admission.stop()


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("Desk-worker")]


async def test_the_order_of_start_is_the_order_of_arrival(desk: Desk) -> None:
    results = [desk.submit(number) for number in range(50)]
    desk.go_on.set()
    assert await asyncio.gather(*results) == list(range(50)) == desk.started


async def test_the_workers_are_as_many_as_the_limit_and_started_as_needed(
    desk: Desk, wait_until_async: Callable[..., Any]
) -> None:
    desk.limit = 5
    results = [desk.submit(0), desk.submit(1)]
    await wait_until_async(lambda: len(desk.started) == 2)
    assert len(workers()) == 2
    results += [desk.submit(number) for number in range(2, 20)]
    await wait_until_async(lambda: len(desk.started) == 5)
    assert len(workers()) == 5
    assert desk.admission.in_progress() == 20
    desk.go_on.set()
    await asyncio.gather(*results)
    # The workers may be a moment behind what they handed over.
    await wait_until_async(lambda: desk.admission.in_progress() == 0)


async def test_a_limit_that_rises_is_followed(desk: Desk, wait_until_async: Callable[..., Any]) -> None:
    results = [desk.submit(number) for number in range(3)]
    await wait_until_async(lambda: len(desk.started) == 1)
    desk.limit = 3

    def submit_another() -> bool:
        results.append(desk.submit(len(results)))
        return len(desk.started) == 3

    # The limit is not asked for with each submission, but soon enough.
    await wait_until_async(submit_another)
    desk.go_on.set()
    assert await asyncio.gather(*results) == list(range(len(results)))


async def test_the_limit_is_not_asked_for_with_each_submission(desk: Desk) -> None:
    asked = 0

    def limit() -> int:
        nonlocal asked
        asked += 1
        return 1

    desk.admission._limit = limit
    results = [desk.submit(number) for number in range(1000)]
    assert asked <= 3
    desk.go_on.set()
    await asyncio.gather(*results)


async def test_an_idle_worker_serves_before_a_new_one_is_started(
    desk: Desk, wait_until_async: Callable[..., Any]
) -> None:
    desk.limit = 5
    desk.go_on.set()
    for number in range(10):
        await desk.submit(number)
        await wait_until_async(lambda: desk.admission.stats().busy == 0)
    assert len(workers()) == desk.admission.stats().workers == 1


async def test_the_workers_are_daemons_and_gone_after_a_stop(
    desk: Desk, wait_until_async: Callable[..., Any]
) -> None:
    desk.limit = 3
    results = [desk.submit(number) for number in range(3)]
    assert all(worker.daemon for worker in workers())
    desk.go_on.set()
    await asyncio.gather(*results)
    desk.admission.stop()
    await wait_until_async(lambda: not workers(), message="the end of the workers")


async def test_a_cancelled_queued_operation_is_skipped_and_holds_nobody_up(desk: Desk) -> None:
    first, second, third = (desk.submit(name) for name in ("first", "second", "third"))
    second.cancel()
    desk.go_on.set()
    assert [*await asyncio.gather(first, third)] == ["first", "third"]
    assert desk.started == ["first", "third"]


async def test_a_cancelled_running_operation_ends_and_its_worker_goes_on(
    desk: Desk, wait_until_async: Callable[..., Any]
) -> None:
    first = desk.submit("first")
    await wait_until_async(lambda: desk.started == ["first"])
    first.cancel()
    assert desk.admission.in_progress() == 1
    desk.go_on.set()
    assert await desk.submit("second") == "second"


async def test_new_work_is_refused_on_the_future_and_never_raised(desk: Desk) -> None:
    desk.admission.refuse()
    refused = desk.submit("late")
    with pytest.raises(PoolClosingError, match="Desk is closing"):
        await refused
    assert desk.started == []


async def test_what_waits_at_a_stop_is_refused_on_its_future(
    desk: Desk, wait_until_async: Callable[..., Any]
) -> None:
    running, waiting = desk.submit("running"), desk.submit("waiting")
    await wait_until_async(lambda: desk.started == ["running"])
    desk.admission.stop()
    with pytest.raises(PoolClosingError):
        await waiting
    desk.go_on.set()
    assert await running == "running"
    assert desk.started == ["running"]


@pytest.mark.parametrize("name", ["commit_transaction", "abort_transaction", "end_session", "close"])
async def test_what_finishes_work_is_served_while_new_work_is_refused(desk: Desk, name: str) -> None:
    def method(owner: object) -> str:
        del owner
        return "finished"

    method.__name__ = name
    desk.admission.refuse()
    # The shape in which Motor hands over its calls.
    call = partial(contextvars.copy_context().run, method, object())
    assert await desk.admission.submit(call) == "finished"


async def test_an_error_arrives_as_it_was_raised(desk: Desk) -> None:
    with pytest.raises(ZeroDivisionError):
        await desk.admission.submit(lambda: 1 / 0)
    with pytest.raises(SystemExit):
        await desk.admission.submit(partial(sys.exit, 3))
    desk.go_on.set()
    assert await desk.submit("after") == "after"


async def test_stop_iteration_arrives_as_a_runtime_error(desk: Desk) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await desk.admission.submit(partial(next, iter(())))


async def test_an_error_is_freed_without_the_garbage_collector(
    desk: Desk, wait_until_async: Callable[..., Any]
) -> None:
    class Failure(Exception):
        pass

    def fail() -> None:
        raise Failure

    gc.disable()
    try:
        future = desk.admission.submit(fail)
        await asyncio.wait([future])
        error = future.exception()
        assert error is not None
        seen = weakref.ref(error)
        del future, error
        # The worker may be a moment behind what it handed over.
        await wait_until_async(lambda: seen() is None)
    finally:
        gc.enable()


async def test_an_idle_worker_does_not_keep_the_last_result(
    desk: Desk, wait_until_async: Callable[..., Any]
) -> None:
    class Result:
        pass

    result = await desk.admission.submit(Result)
    seen = weakref.ref(result)
    del result
    await wait_until_async(lambda: seen() is None)


def test_a_loop_closed_before_the_result_drops_it_and_the_worker_lives_on(
    desk: Desk, wait_until: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "async_mongo_pool")

    async def leave() -> None:
        desk.submit("left behind")

    async def go_on() -> Any:
        return await desk.submit("next")

    asyncio.run(leave())
    wait_until(lambda: desk.started == ["left behind"])
    worker = workers()
    desk.go_on.set()
    assert asyncio.run(go_on()) == "next"
    assert workers() == worker
    assert "event loop is closed" in caplog.text


def test_a_call_outside_every_loop_names_the_pool(desk: Desk) -> None:
    with pytest.raises(PoolLoopError, match="Desk: no event loop is running"):
        desk.submit("nowhere")


async def test_without_any_thread_the_refusal_arrives_on_the_future(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    refused = desk.submit("hopeless")
    with pytest.raises(RuntimeError, match="can't start new thread"):
        await refused
    monkeypatch.undo()
    desk.go_on.set()
    assert await desk.submit("again") == "again"


async def test_fewer_threads_than_wanted_serve_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk.limit = 2
    first = desk.submit(1)

    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_more)
    second = desk.submit(2)
    monkeypatch.undo()
    desk.go_on.set()
    assert [*await asyncio.gather(first, second)] == [1, 2]
    assert "1 workers serve" in caplog.text


async def test_telling_the_limit_may_use_the_pool_itself(desk: Desk) -> None:
    """It logs where max_threads binds, and a log handler may write to the very database."""

    def limit() -> int:
        return desk.admission.in_progress() + 1

    desk.admission._limit = limit
    desk.go_on.set()
    async with asyncio.timeout(5):
        assert await desk.submit(1) == 1
