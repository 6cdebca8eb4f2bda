"""Ten thousand at once on a hundred connections: each is served or refused with a clear error, and none is lost.

The twin has five hundred instead: each of its callers is a thread, with a stack and a share of the scheduler, and
nobody runs ten thousand of those; five times as many as connections fill the same queue.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from pymongo.errors import WaitQueueTimeoutError
from pymongo.monitoring import CommandListener

from async_mongo_pool.backends import driver_state
from async_mongo_pool.errors import PoolExhaustedError
from tests.pools.subjects import Subject, ping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from async_mongo_pool.testing import Server

    WaitUntil = Callable[..., Any]

pytestmark = [pytest.mark.serial, pytest.mark.timeout(300)]

CONNECTIONS = 100
TASKS = 10_000
THREADS = 500
BOUND = 200.0


class Pings(CommandListener):
    """Writes down the numbers of the pings in the order in which they are sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def started(self, event: Any) -> None:
        if event.command_name == "ping":
            self.sent.append(int(event.command["ping"]))

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...

    def most_overtaken(self) -> int:
        """Of all that were sent: the most that came before, and were not sent yet."""
        overtaken, seen = 0, list[int]()
        for number in self.sent:
            overtaken = max(overtaken, number - bisect_left(seen, number))
            insort(seen, number)
        return overtaken


@pytest_asyncio.fixture(params=["motor", "pymongo", "sync"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    made = Subject(request.param)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="asyncio_ten_thousand") as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        yield made
        await made.close(drain=0, timeout=5)


@pytest_asyncio.fixture
async def motor() -> AsyncIterator[Subject]:
    made = Subject("motor")
    yield made
    await made.close(drain=0, timeout=5)


async def open_full(subject: Subject, uri: str, **options: Any) -> Any:
    """A client that has all of its connections."""
    full = {"maxPoolSize": CONNECTIONS, "minPoolSize": CONNECTIONS, "warm_up": True, "timeout": 60}
    return await subject.initialize(uri, **full, **options)


def number_of(subject: Subject) -> int:
    return TASKS if subject.is_async else THREADS


async def ask_all(subject: Subject, client: Any) -> list[Any]:
    """What came of so many numbered pings at once, in their order."""

    async def ask(number: int) -> Any:
        return await subject.call(client.admin.command, "ping", number)

    tasks = [asyncio.ensure_future(ask(number)) for number in range(number_of(subject))]
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), BOUND)


def kinds(outcomes: Sequence[Any]) -> Counter[type[Any]]:
    return Counter(type(outcome) for outcome in outcomes)


async def check_rest(subject: Subject, client: Any, wait_until_async: WaitUntil) -> None:
    handle = subject.pool._lifecycle.handle()

    def at_rest() -> bool:
        (pool,) = driver_state.pools_now(handle.driver_client).values()
        totals = subject.pool.snapshot().totals
        return (pool.placed, pool.asked, pool.entering, totals.used, totals.waiting) == (0, 0, 0, 0, 0)

    await wait_until_async(at_rest, 30, lambda: f"rest: {subject.pool.snapshot()}")
    snapshot = subject.pool.snapshot()
    assert snapshot.drift == 0, snapshot.broken_laws
    if snapshot.executor is not None:
        assert (snapshot.executor.busy, snapshot.executor.queued) == (0, 0)
    assert (await subject.call(ping, client))["ok"] == 1


async def test_all_are_served_in_the_order_in_which_they_came(
    subject: Subject, mongodb_uri: str, wait_until_async: WaitUntil
) -> None:
    pings = Pings()
    client = await open_full(subject, mongodb_uri, waitQueueTimeoutMS=1000 * BOUND, event_listeners=[pings])
    pings.sent.clear()
    outcomes = await ask_all(subject, client)
    assert kinds(outcomes) == {dict: number_of(subject)}
    assert sorted(pings.sent) == list(range(number_of(subject)))
    if subject.backend == "motor":
        # Who is sent before an earlier one was taken from the line at the same time as that: each of the other
        # workers may hold one. AsyncMongoClient and the twin have the driver's own queue, whose order we do not
        # promise.
        assert pings.most_overtaken() < CONNECTIONS
        wait = subject.pool.snapshot().executor.wait
        assert wait.count >= TASKS
    await check_rest(subject, client, wait_until_async)


async def test_beyond_max_waiting_the_rest_is_refused_at_once(
    motor: Subject, mongod: Server, wait_until_async: WaitUntil
) -> None:
    client = await open_full(motor, mongod.uri, max_waiting=500, waitQueueTimeoutMS=1000 * BOUND)
    documents = client[motor.name].documents
    ended: list[Any] = []

    async def find(number: int) -> None:
        try:
            ended.append(await documents.find_one({"n": number}))
        except PoolExhaustedError as error:
            ended.append(error)

    # Every find that has begun waits on the server until the fail point is off.
    hold = {"nss": f"{motor.name}.documents"}
    await documents.insert_one({})
    fail_point = mongod.fail_point("waitInFindBeforeMakingBatch", "alwaysOn", hold)
    await asyncio.to_thread(fail_point.__enter__)
    try:
        tasks = [asyncio.ensure_future(find(number)) for number in range(TASKS)]
        refused = TASKS - CONNECTIONS - 500
        await wait_until_async(lambda: len(ended) >= refused, BOUND, lambda: f"{len(ended)} refusals")
        assert kinds(ended) == {PoolExhaustedError: refused}
        assert "max_waiting=500" in str(ended[-1])
        executor = motor.pool.snapshot().executor
        assert (executor.queued + executor.busy, executor.refused["full"]) == (CONNECTIONS + 500, refused)
    finally:
        await asyncio.to_thread(fail_point.__exit__, None, None, None)
    await asyncio.wait_for(asyncio.gather(*tasks), BOUND)
    assert kinds(ended) == {PoolExhaustedError: refused, type(None): CONNECTIONS + 500}
    await check_rest(motor, client, wait_until_async)
    await client.drop_database(motor.name)


async def test_where_time_runs_out_each_is_served_or_refused(
    subject: Subject, mongod: Server, wait_until_async: WaitUntil
) -> None:
    client = await open_full(subject, mongod.uri, waitQueueTimeoutMS=300)
    slow = {"failCommands": ["ping"], "appName": subject.name, "blockConnection": True, "blockTimeMS": 1000}
    with mongod.fail_point("failCommand", "alwaysOn", slow):
        found = kinds(await ask_all(subject, client))
    refusal = PoolExhaustedError if subject.backend == "motor" else WaitQueueTimeoutError
    assert set(found) == {dict, refusal}
    assert found.total() == number_of(subject)
    assert found[dict] >= CONNECTIONS
    await check_rest(subject, client, wait_until_async)
