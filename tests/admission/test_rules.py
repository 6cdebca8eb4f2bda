"""Who goes ahead, how many may run, what a transaction keeps free, and what streams hold: without a server."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient

from async_mongo_pool.backends.admission.calls import CONTINUES, FETCHES, FINISHES, NEW, STREAMS, read_call
from async_mongo_pool.backends.admission.limits import WaitLimits
from async_mongo_pool.backends.admission.transactions import OpenTransactions
from async_mongo_pool.errors import PoolClosingError, PoolExhaustedError
from async_mongo_pool.stats import PoolSnapshot

from .desk import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymongo.synchronous.client_session import ClientSession

    from .desk import Desk

    MakeDesk = Callable[..., Desk]
    WaitUntil = Callable[..., Any]

pytestmark = pytest.mark.core


@pytest.fixture
def client() -> Iterator[MongoClient[dict[str, Any]]]:
    """A client that never connects."""
    made: MongoClient[dict[str, Any]] = MongoClient("mongodb://127.0.0.1:1", connect=False)
    yield made
    made.close()


@pytest.fixture
def session(client: MongoClient[dict[str, Any]]) -> ClientSession:
    """A session in a transaction that has not reached a server."""
    made = client.start_session()
    made.start_transaction()
    return made


def called(method: Any, *arguments: Any, **keywords: Any) -> Any:
    return partial(partial(_run, method), *arguments, **keywords)


def _run(method: Any, *arguments: Any, **keywords: Any) -> Any:
    return method(*arguments, **keywords)


def finishes_work(call: Any) -> bool:
    """Whether it passes while a pool drains."""
    return read_call(call)[0] in (FINISHES, FETCHES, CONTINUES)


def commit_transaction() -> None: ...


def insert_one() -> None: ...


def _refresh() -> None: ...


def _try_next() -> None: ...


class Cursor:
    def __init__(
        self, cursor_id: int | None, flags: int = 0, session: Any = None, await_ms: int | None = None
    ) -> None:
        self._max_await_time_ms = await_ms
        self.cursor_id = cursor_id
        self._query_flags = flags
        self._session = session


def try_next_of(cursor: Cursor) -> Any:
    """As Motor's CommandCursor.try_next hands itself over."""

    class Owner:
        delegate = cursor

    owner = Owner()

    def inner() -> Any:
        return owner.delegate

    return inner


def test_calls_are_told_apart_by_their_shape() -> None:
    assert read_call(called(insert_one, object(), {}))[0] == NEW
    assert read_call(called(commit_transaction, object()))[0] == FINISHES
    assert read_call(called(_refresh, Cursor(None)))[0] == NEW
    assert read_call(called(_refresh, Cursor(7)))[0] == FETCHES
    assert read_call(called(_refresh, Cursor(7, flags=2)))[0] == CONTINUES
    assert read_call(called(_refresh, Cursor(7, await_ms=1000)))[0] == CONTINUES
    assert read_call(called(try_next_of(Cursor(7))))[0] == FETCHES
    assert finishes_work(called(_refresh, Cursor(7)))
    assert read_call(called(try_next_of(Cursor(0))))[0] == NEW
    assert read_call(called(_try_next, Stream("open")))[0] == STREAMS
    assert read_call(print)[0] == read_call(partial(print))[0] == NEW


@pytest.mark.parametrize("where", ["argument", "keyword", "owner", "cursor"])
def test_an_operation_of_a_transaction_finishes_work_wherever_its_session_stands(
    session: ClientSession, where: str
) -> None:
    call = {
        "argument": called(insert_one, object(), {}, session),
        "keyword": called(insert_one, object(), {}, session=session),
        "owner": called(insert_one, session),
        "cursor": called(_refresh, Cursor(None, session=session)),
    }[where]
    assert read_call(call) == (FINISHES, session)
    assert finishes_work(call)


def test_an_open_stream_does_not_pass_a_draining_pool_but_an_open_tailable_cursor_does() -> None:
    assert not finishes_work(called(_try_next, Stream("open")))
    assert finishes_work(called(_refresh, Cursor(7, flags=2)))


def test_an_abandoned_session_counts_until_it_is_collected(session: ClientSession) -> None:
    transactions = OpenTransactions()
    transactions.add(session)
    assert transactions.any_open()
    abandoned = session.client.start_session()
    abandoned.start_transaction()
    alone = OpenTransactions()
    alone.add(abandoned)
    assert alone.any_open()
    del abandoned
    gc.collect()
    assert not alone.any_open()
    # Never begun on a server, so ending it needs none.
    session.abort_transaction()
    assert not transactions.any_open()


def test_ended_transactions_do_not_pile_up(session: ClientSession) -> None:
    transactions = OpenTransactions()
    transactions.add(session)
    for _ in range(1000):
        other = session.client.start_session()
        other.start_transaction()
        transactions.add(other)
    assert len(transactions._seen) < 200
    session.abort_transaction()


async def test_finishing_work_goes_ahead_of_new_work_and_each_class_keeps_its_order(make_desk: MakeDesk) -> None:
    desk = make_desk()
    results = [desk.submit("first"), desk.submit("new 1"), desk.finish("end 1"), desk.submit("new 2")]
    results.append(desk.finish("end 2"))
    desk.open_all()
    await asyncio.gather(*results)
    assert desk.started == ["first", "end 1", "end 2", "new 1", "new 2"]


async def test_open_streams_have_no_right_of_way(make_desk: MakeDesk) -> None:
    """They come back as soon as they have ended: ahead of new work they would starve it."""
    desk = make_desk()
    results = [desk.submit("first"), desk.submit("new"), desk.stream("stream")]
    desk.open_all()
    await asyncio.gather(*results)
    assert desk.started == ["first", "new", "stream"]


async def test_while_a_transaction_is_open_new_work_leaves_one_worker_free(
    make_desk: MakeDesk, session: ClientSession, wait_until_async: WaitUntil
) -> None:
    desk = make_desk(4, connections=4)
    await desk.admission.submit(called(lambda owner: None, session))
    results = [desk.submit(number) for number in range(6)]
    await wait_until_async(lambda: len(desk.started) == 3)
    commit = threading.Event()
    commit.set()
    assert await asyncio.wait_for(desk.finish("commit", commit), 5) == "commit"
    assert len(desk.started) == 4
    # The transaction has ended: what passes next finds all workers open to new work.
    session.abort_transaction()
    results.append(desk.submit(6))
    await wait_until_async(lambda: len(desk.started) == 5)
    assert desk.admission.stats().busy == 4
    desk.open_all()
    await asyncio.gather(*results)


@pytest.mark.parametrize(("limit", "connections", "at_most"), [(30, 10, 9), (3, 10, 2), (1, 1, 1)])
async def test_the_reserve_counts_per_server_and_leaves_new_work_at_least_one(
    make_desk: MakeDesk,
    session: ClientSession,
    wait_until_async: WaitUntil,
    limit: int,
    connections: int,
    at_most: int,
) -> None:
    desk = make_desk(limit, connections=connections)
    await desk.admission.submit(called(lambda owner: None, session))
    results = [desk.submit(number) for number in range(40)]
    await wait_until_async(lambda: len(desk.started) == at_most)
    done = threading.Event()
    done.set()
    if at_most < limit:
        await desk.finish("it passes", done)
        assert len(desk.started) == at_most + 1
    session.abort_transaction()
    desk.open_all()
    await asyncio.gather(*results)


async def test_max_waiting_refuses_at_once_and_tells_the_state(make_desk: MakeDesk) -> None:
    desk = make_desk(2, max_waiting=3)
    accepted = [desk.submit(number) for number in range(5)]
    refused = desk.submit("one too many")
    assert refused.done()
    with pytest.raises(PoolExhaustedError, match=r"max_waiting=3.* 2 of 2 threads busy") as caught:
        await refused
    snapshot = caught.value.snapshot
    assert snapshot is not None
    assert snapshot.executor is not None
    assert snapshot.executor.queued == snapshot.totals.waiting == 3
    ending = desk.finish("never refused for it")
    assert desk.admission.stats().refused == {"timeout": 0, "full": 1, "closing": 0}
    desk.open_all()
    await asyncio.gather(*accepted, ending)


async def test_max_waiting_zero_lets_everything_start_that_can(
    make_desk: MakeDesk, wait_until_async: WaitUntil
) -> None:
    desk = make_desk(20, max_waiting=0)
    accepted = [desk.submit(number) for number in range(20)]
    refused = desk.submit("one too many")
    with pytest.raises(PoolExhaustedError, match="max_waiting=0"):
        await refused
    await wait_until_async(lambda: len(desk.started) == 20)
    desk.open_all()
    await asyncio.gather(*accepted)


async def test_nothing_is_refused_for_its_time_while_a_worker_is_free(
    make_desk: MakeDesk, wait_until_async: WaitUntil
) -> None:
    """Few run at first, to see whether more would help; a loop that is blocked meanwhile cannot tell them so."""
    desk = make_desk(20, limits=WaitLimits(100))
    submitted = [desk.submit(number) for number in range(30)]
    time.sleep(0.3)  # noqa: ASYNC251 - a busy loop
    await wait_until_async(lambda: len(desk.started) == 20)
    desk.open_all()
    outcomes = await asyncio.wait_for(asyncio.gather(*submitted, return_exceptions=True), 20)
    assert outcomes[:20] == list(range(20))
    assert [type(outcome) for outcome in outcomes[20:]] == [PoolExhaustedError] * 10


async def test_a_storm_of_refusals_takes_few_snapshots(make_desk: MakeDesk) -> None:
    taken = 0

    def snapshot() -> PoolSnapshot:
        nonlocal taken
        taken += 1
        assert not desk.admission._lock._is_owned()  # type: ignore[attr-defined]  # of RLock, undocumented
        return PoolSnapshot(pool="Desk", backend="motor")

    desk = make_desk(1, max_waiting=0, snapshot=snapshot)
    running = desk.submit("running")
    refused = await asyncio.gather(*(desk.submit(number) for number in range(1000)), return_exceptions=True)
    assert all(isinstance(each, PoolExhaustedError) for each in refused)
    assert 1 <= taken < 100
    desk.open_all()
    await running


async def test_a_snapshot_that_fails_hides_no_refusal(make_desk: MakeDesk) -> None:
    desk = make_desk(1, max_waiting=0, snapshot=lambda: 1 / 0)
    running = desk.submit("running")
    with pytest.raises(PoolExhaustedError, match="Desk"):
        await desk.submit("refused")
    desk.open_all()
    await running


async def test_streams_are_counted_and_told_of_once_when_they_hold_every_worker(
    make_desk: MakeDesk, wait_until_async: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "async_mongo_pool")
    desk = make_desk(2)
    streams = [desk.stream(1), desk.stream(2)]
    await wait_until_async(lambda: len(desk.started) == 2)
    assert desk.admission.stats().streaming == 2
    assert not caplog.records
    waiting = [desk.submit(number) for number in range(5)]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "Raise maxPoolSize above the number of streams" in told[0]
    desk.open_all()
    await asyncio.gather(*streams, *waiting)
    await wait_until_async(lambda: desk.admission.stats().streaming == 0)


async def test_the_statistics_tell_who_runs_waits_left_and_was_refused(
    make_desk: MakeDesk, wait_until_async: WaitUntil
) -> None:
    desk = make_desk(2)
    running = [desk.submit(1), desk.submit(2)]
    waiting = [desk.submit(number) for number in range(3)]
    waiting[0].cancel()
    await wait_until_async(lambda: desk.admission.stats().queued == 2)
    stats = desk.admission.stats()
    assert (stats.workers, stats.max_workers, stats.busy, stats.queued, stats.abandoned) == (2, 2, 2, 2, 1)
    desk.admission.refuse()
    with pytest.raises(PoolClosingError):
        await desk.submit("late")
    assert desk.admission.stats().refused["closing"] == 1
    desk.open_all()
    await asyncio.gather(*running, *waiting[1:])
    wait = desk.admission.stats().wait
    assert wait.count == 4
    assert wait.buckets[0] >= 2
    assert 0 < wait.max_seconds <= wait.sum_seconds


async def test_who_waited_finds_its_wait_under_its_thread_and_nothing_is_left(
    make_desk: MakeDesk, wait_until_async: WaitUntil
) -> None:
    waits: dict[int, float] = {}
    desk = make_desk(1, queue_waits=waits)

    def waited() -> float | None:
        return waits.get(threading.get_ident())

    first = desk.submit("first")
    second = desk.admission.submit(waited)
    await wait_until_async(lambda: desk.started == ["first"])
    await asyncio.sleep(0.05)
    desk.open_all()
    assert await first == "first"
    found = await second
    assert found is not None
    assert found >= 0.05
    assert await desk.admission.submit(waited) is None
    assert waits == {}


async def test_the_hook_sees_each_call_in_the_task_that_submits_it(make_desk: MakeDesk) -> None:
    seen: list[Any] = []
    desk = make_desk(1, on_submit=lambda call: seen.append((call, asyncio.current_task())))
    await desk.admission.submit(int)
    assert seen == [(int, asyncio.current_task())]
