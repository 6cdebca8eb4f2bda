"""`run` on a real server without faults: clients, closing, replacing, transactions, full pools."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError, InvalidOperation, WaitQueueTimeoutError

from async_mongo_pool.errors import PoolLoopError
from tests.pools.subjects import ping, sleep_on_server
from tests.timing import now

from .subjects import Subject, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.testing import ReplicaSet

ROOT = Path(__file__).parents[2]


async def test_the_function_gets_the_open_client(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    assert await subject.run(subject.made(lambda given: given)) is client
    # What a driver's method returns need not be a coroutine: Motor's are futures.
    assert (await subject.run(ping, deadline=5))["ok"] == 1


async def test_a_decorated_function_is_called_without_the_client(subject: Subject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    calls: list[int] = []

    def answer(client: Any, number: int, *, factor: int = 1) -> int:
        calls.append(number)
        if len(calls) < 3:
            raise AutoReconnect("lost")
        return number * factor

    decorated = subject.pool.retrying(idempotent=True)(subject.made(answer))
    assert await subject.call(decorated, 7, factor=6) == 42
    assert calls == [7, 7, 7]
    assert subject.stats().retries == 2


async def test_the_snapshot_has_the_counts_of_the_pool_and_they_survive_its_client(
    subject: Subject, mongodb_uri: str
) -> None:
    await subject.initialize(mongodb_uri)
    before = subject.pool.snapshot()
    failures = [AutoReconnect("lost")]

    def once_lost(client: Any) -> None:
        if failures:
            raise failures.pop()

    await subject.run(subject.made(once_lost), idempotent=True)
    await subject.initialize(mongodb_uri, maxPoolSize=7)
    await subject.run(ping)
    after = subject.pool.snapshot()
    told = (after.retries.operations, after.retries.retries, after.retries.recovered)
    assert told == (2, 1, 1)
    assert subject.stats().retries == 1
    assert (await subject.call(subject.pool.get_pool_stats))["retries"]["given_up"]["deadline"] == 0

    await subject.run(ping)
    gained = subject.pool.snapshot().since(after).retries
    assert (gained.operations, gained.retries) == (1, 0)
    assert subject.pool.snapshot().since(before).retries.operations == 3, "another client, but the same pool"
    await subject.close()
    assert subject.pool.snapshot().retries.operations == 3


async def test_a_function_that_cannot_be_awaited_is_told_so(subject: Subject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)

    async def asynchronous(client: Any) -> None: ...

    wrong = (lambda client: client.db.things.find()) if subject.is_async else asynchronous
    with pytest.raises(TypeError, match=r"Cursor\. Use `async def`|plain function"):
        await subject.run(wrong, idempotent=True)


async def test_a_replaced_client_is_noticed_and_the_budget_stays(subject: Subject, mongodb_uri: str) -> None:
    first = await subject.initialize(mongodb_uri)
    clients: list[Any] = []

    def replace(client: Any) -> Any:
        clients.append(client)
        if len(clients) > 1:
            return client
        return fail(subject.pool.initialize(mongodb_uri, **subject.choice, maxPoolSize=7, retire_after=0.1))

    def fail(initialized: Any) -> Any:
        async def afterwards() -> None:
            await initialized
            raise AutoReconnect("lost")

        if subject.is_async:
            return afterwards()
        raise AutoReconnect("lost")

    second = await subject.run(subject.made(replace), idempotent=True)
    assert clients == [first, second]
    assert first is not second
    stats = subject.stats()
    assert (stats.operations, stats.retries, stats.recovered) == (1, 1, 1)
    await subject.close()
    assert subject.stats().retries == 1


async def test_a_pool_that_is_closed_between_two_attempts(subject: Subject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    calls = 0

    def close(client: Any) -> Any:
        nonlocal calls
        calls += 1
        subject.pool._lifecycle.detach()[0].finish(0, 3)
        raise AutoReconnect("lost")

    with pytest.raises(AutoReconnect) as raised:
        await subject.run(subject.made(close), idempotent=True)
    assert calls == 1
    assert "the pool was closed" in raised.value.__notes__[0]
    assert subject.stats().given_up["closed"] == 1


async def test_an_attempt_that_meets_the_closed_client_is_the_last(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    await subject.close()
    calls: list[Any] = []
    await subject.initialize(mongodb_uri)

    def use_old(_: Any) -> Any:
        calls.append(1)
        return ping(client)

    with pytest.raises(InvalidOperation):
        await subject.run(subject.made(use_old), idempotent=True)
    assert len(calls) == 1


async def test_on_give_up_is_told_and_its_own_failure_hides_nothing(
    subject: Subject, mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    await subject.initialize(mongodb_uri)
    told: list[tuple[str, int, float]] = []

    def lose(client: Any) -> None:
        raise AutoReconnect("lost")

    def on_give_up(error: Exception, attempts: int, seconds: float) -> None:
        told.append((str(error), attempts, seconds))
        raise ValueError("own")

    for callback in (on_give_up, subject.made(on_give_up)):
        with pytest.raises(AutoReconnect):
            await subject.run(subject.made(lose), idempotent=True, attempts=2, on_give_up=callback)
    assert [(text, attempts) for text, attempts, _ in told] == [("lost", 2)] * 2
    assert all(0 <= seconds < 5 for _, _, seconds in told)
    assert "on_give_up failed (ValueError)" in caplog.text


async def test_on_give_up_is_not_told_of_what_a_retry_could_not_cure(
    subject: Subject, mongodb_uri: str, mongodb_database: str
) -> None:
    await subject.initialize(mongodb_uri)
    told: list[Any] = []

    def insert(client: Any) -> Any:
        return client[mongodb_database].things.insert_one({"_id": 1})

    await subject.run(insert)
    with pytest.raises(DuplicateKeyError) as raised:
        await subject.run(insert, idempotent=True, on_give_up=lambda *facts: told.append(facts))
    assert told == []
    assert not hasattr(raised.value, "__notes__")


async def test_a_full_pool_is_not_asked_again(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=1, waitQueueTimeoutMS=100)
    busy = asyncio.ensure_future(subject.call(sleep_on_server, client, 1))
    await wait_until_async(lambda: subject.pool.snapshot().totals.used == 1)
    calls: list[int] = []

    def find(given: Any) -> Any:
        calls.append(1)
        return ping(given)

    with pytest.raises(WaitQueueTimeoutError):
        await subject.run(subject.made(find), idempotent=True)
    assert len(calls) == 1
    await busy


async def test_the_wait_for_a_connection_counts_against_the_deadline(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=1, waitQueueTimeoutMS=20_000)
    busy = asyncio.ensure_future(subject.call(sleep_on_server, client, 1.5))
    await wait_until_async(lambda: subject.pool.snapshot().totals.used == 1)
    began = now()
    with pytest.raises(WaitQueueTimeoutError) as raised:
        await subject.run(ping, idempotent=True, deadline=0.5)
    assert 0.4 < now() - began < 0.9
    assert "the deadline leaves no time" in raised.value.__notes__[0]
    await busy


async def test_in_a_transaction_the_driver_repeats_the_whole(
    subject: Subject, mongodb_replica_set: ReplicaSet, mongodb_database: str
) -> None:
    client = await subject.initialize(mongodb_replica_set.uri)
    things = client[mongodb_database].things
    await subject.call(things.insert_one, {"_id": 0})
    attempts: list[int] = []
    calls: list[int] = []

    def work(session: Any) -> Any:
        attempts.append(1)

        def insert(given: Any) -> Any:
            calls.append(1)
            return given[mongodb_database].things.insert_one({"_id": 1}, session=session)

        return subject.pool.run(subject.made(insert), idempotent=True)

    failing = {"failCommands": ["insert"], "closeConnection": True, "appName": subject.name}
    session = await subject.session(client)
    try:
        with mongodb_replica_set.primary.fail_point("failCommand", {"times": 1}, failing):
            await subject.call(session.with_transaction, subject.made(work))
    finally:
        await subject.end(session)
    assert (len(attempts), len(calls)) == (2, 2)
    stats = subject.stats()
    assert (stats.retries, sum(stats.given_up.values())) == (0, 0)
    assert await subject.call(things.count_documents, {}) == 2
    await subject.call(client.drop_database, mongodb_database)


async def test_a_client_of_another_loop_is_named(mongodb_uri: str) -> None:
    subject = Subject("pymongo")
    await subject.initialize(mongodb_uri)

    async def elsewhere() -> None:
        with pytest.raises(PoolLoopError, match=subject.name):
            await subject.run(ping)

    await asyncio.to_thread(asyncio.run, elsewhere())
    await subject.close()


async def test_on_motor_a_cancellation_passes_on(mongodb_uri: str, wait_until_async: Callable[..., Any]) -> None:
    subject = Subject("motor")
    await subject.initialize(mongodb_uri)
    task = asyncio.ensure_future(subject.run(lambda client: sleep_on_server(client, 0.5), idempotent=True))
    await wait_until_async(lambda: subject.pool.snapshot().totals.used == 1)
    task.cancel()
    assert isinstance(await settled(task), asyncio.CancelledError)
    # The thread goes on, and gives the connection back.
    assert subject.pool.snapshot().totals.used == 1
    await wait_until_async(lambda: subject.pool.snapshot().totals.used == 0)
    assert subject.stats().abandoned == 0
    await subject.close()


FORKING = """
import os
from async_mongo_pool import MongoDBConnectionPool as SyncPool
from async_mongo_pool.retry import state
from async_mongo_pool.retry.alarm import alarm
from async_mongo_pool.retry.state import state_of

mine = state_of(SyncPool._lifecycle)
mine.recorder.operation()
assert mine.budget.withdraw()
# Another thread of the parent held every lock at the fork.
import threading
held, go = threading.Event(), threading.Event()
def hold():
    with mine.recorder._lock, mine.budget._lock, state._states.making, alarm._changed:
        held.set()
        go.wait(20)
holder = threading.Thread(target=hold)
holder.start()
held.wait(20)
child = os.fork()
if child == 0:
    stats = SyncPool.retry_stats()
    with SyncPool.operation(timeout=5):
        assert alarm._thread.is_alive()
    os._exit(0 if (stats.operations, stats.budget) == (0, 10) else 1)
_, status = os.waitpid(child, 0)
go.set()
holder.join()
assert os.waitstatus_to_exitcode(status) == 0
assert SyncPool.retry_stats().operations == 1
"""


def test_a_forked_child_begins_at_zero_with_locks_of_its_own() -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", FORKING], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
