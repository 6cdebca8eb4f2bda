"""A full pool leaves a transaction's commit a connection; of a transaction one operation runs at a time."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient, ReadPreference

from async_mongo_pool.errors import PoolClosingError, PoolExhaustedError
from tests.pools.subjects import Subject, sleep_on_server
from tests.timing import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.testing import ReplicaSet

    from .desk import Desk


@pytest.mark.parametrize("read_everywhere", [False, True], ids=["primary", "three servers"])
async def test_a_commit_passes_two_hundred_operations_that_wait_for_it(
    mongodb_replica_set: ReplicaSet, wait_until_async: Callable[..., Any], read_everywhere: bool
) -> None:
    motor = Subject("motor")
    preference = {"readPreference": "nearest"} if read_everywhere else {}
    client = await motor.initialize(
        mongodb_replica_set.uri, maxPoolSize=10, minPoolSize=0, waitQueueTimeoutMS=60_000, **preference
    )
    admission = motor.pool._lifecycle.handle().admission
    # The counts are read where they were written: a secondary may be behind.
    accounts = client.get_database(motor.name, read_preference=ReadPreference.PRIMARY).accounts
    try:
        await accounts.insert_one({"_id": 1, "n": 0})
        session = await client.start_session()
        session.start_transaction(read_preference=ReadPreference.PRIMARY)
        await accounts.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
        updates = [asyncio.ensure_future(accounts.update_one({"_id": 1}, {"$inc": {"n": 1}})) for _ in range(200)]
        # All that new work may hold is taken, and waits on the server for the transaction.
        await wait_until_async(lambda: admission.stats().busy == 9)
        began = now()
        await asyncio.wait_for(session.commit_transaction(), 10)
        assert now() - began < 3
        await session.end_session()
        await asyncio.wait_for(asyncio.gather(*updates), 60)
        assert (await accounts.find_one({"_id": 1}))["n"] == 201
    finally:
        await client.drop_database(motor.name)
        await motor.close(drain=1, timeout=5)


async def test_with_transaction_begins_anew_after_a_wait_in_the_drivers_queue_that_was_too_long(
    mongodb_replica_set: ReplicaSet, wait_until_async: Callable[..., Any]
) -> None:
    """By the label of the error, which is the driver's."""
    motor = Subject("motor")
    client = await motor.initialize(mongodb_replica_set.uri, maxPoolSize=2, minPoolSize=0, waitQueueTimeoutMS=200)
    accounts = client[motor.name].accounts
    calls: list[Any] = []
    held: list[Any] = []

    async def insert(session: Any) -> None:
        calls.append(session)
        if len(calls) == 1:
            # Past our queue, which would keep one connection free.
            held.extend(asyncio.ensure_future(asyncio.to_thread(_sleep, client.delegate)) for _ in range(2))
            await wait_until_async(lambda: motor.pool.snapshot().totals.used == 2)
        await accounts.insert_one({"call": len(calls)}, session=session)

    try:
        await accounts.insert_one({"call": 0})
        async with await client.start_session() as session:
            await session.with_transaction(insert)
        assert len(calls) > 1
        assert await accounts.count_documents({}) == 2
        await asyncio.gather(*held)
    finally:
        await motor.close(drain=1, timeout=5)


async def test_who_waited_too_long_in_our_queue_gets_the_drivers_label(
    mongodb_replica_set: ReplicaSet, wait_until_async: Callable[..., Any]
) -> None:
    motor, primary = Subject("motor"), mongodb_replica_set.primary
    # One server, and so one worker.
    client = await motor.initialize(
        f"mongodb://{primary.host}:{primary.port}/?directConnection=true",
        maxPoolSize=1,
        minPoolSize=0,
        waitQueueTimeoutMS=150,
    )
    try:
        session = await client.start_session()
        for name, label in (
            ("insert", "TransientTransactionError"),
            ("commit", "UnknownTransactionCommitResult"),
        ):
            session.start_transaction()
            busy = asyncio.ensure_future(sleep_on_server(client, 0.6))
            await wait_until_async(lambda: motor.pool.snapshot().totals.used == 1)
            with pytest.raises(PoolExhaustedError) as raised:
                await (
                    client[motor.name].accounts.insert_one({}, session=session)
                    if name == "insert"
                    else session.commit_transaction()
                )
            assert raised.value.has_error_label(label)
            await busy
            await session.abort_transaction()
        await session.end_session()
    finally:
        await motor.close(drain=1, timeout=5)


def _sleep(client: Any) -> None:
    client.admin.command("sleep", millis=1000, lock="none")


@pytest.mark.parametrize("how", ["abort", "end"])
async def test_what_a_cancelled_operation_still_does_is_part_of_its_transaction(
    mongodb_replica_set: ReplicaSet, wait_until_async: Callable[..., Any], how: str
) -> None:
    """Motor lets a cancelled operation run on in its thread: overtaken by its abort, it would still write."""
    motor = Subject("motor")
    client = await motor.initialize(mongodb_replica_set.uri, maxPoolSize=1, minPoolSize=0)
    accounts = client[motor.name].accounts
    try:
        await accounts.insert_one({"_id": 0})
        session = await client.start_session()
        session.start_transaction()
        # There are three workers, one for each server: the insert has its worker, and waits for the connection.
        busy = asyncio.ensure_future(sleep_on_server(client, 0.7))
        await wait_until_async(lambda: motor.pool.snapshot().totals.used == 1)
        insert = asyncio.ensure_future(accounts.insert_one({"_id": 1}, session=session))
        await wait_until_async(lambda: motor.pool.snapshot().totals.pending_requests == 1)
        insert.cancel()
        await asyncio.wait({insert})
        await (session.abort_transaction() if how == "abort" else session.end_session())
        await busy
        await wait_until_async(lambda: motor.pool.snapshot().totals.used == 0)
        await session.end_session()
        assert await accounts.count_documents({}) == 1
        assert await asyncio.to_thread(open_transactions, mongodb_replica_set) == 0
    finally:
        await client.drop_database(motor.name)
        await motor.close(drain=1, timeout=5)


@pytest.mark.core
async def test_of_a_transaction_one_operation_runs_at_a_time(
    make_desk: Callable[..., Desk], wait_until_async: Callable[..., Any]
) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient("mongodb://127.0.0.1:1", connect=False)
    desk, gate = make_desk(4), threading.Event()
    with client, client.start_session() as session, session.start_transaction():
        insert = desk.transact("insert", session, gate)
        await wait_until_async(lambda: desk.started == ["insert"])
        insert.cancel()
        abort = desk.transact("abort", session)
        other = desk.submit("other")
        with client.start_session() as another, another.start_transaction():
            commit = desk.transact("commit", another)
            await wait_until_async(lambda: sorted(desk.started) == ["commit", "insert", "other"])
            schedule = desk.admission._schedule
            # What waits for its own transaction is no reason to look again and again for more workers.
            assert schedule.line.waiting == 1
            assert not schedule.held_back()
            gate.set()
            await wait_until_async(lambda: desk.started[-1] == "abort")
            desk.open_all()
            await asyncio.wait_for(asyncio.gather(abort, other, commit), 20)
    assert not desk.admission._schedule.line.at_work


@pytest.mark.core
async def test_what_waits_for_its_own_transaction_is_refused_when_the_pool_stops(
    make_desk: Callable[..., Desk], wait_until_async: Callable[..., Any]
) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient("mongodb://127.0.0.1:1", connect=False)
    desk = make_desk(4)
    with client, client.start_session() as session, session.start_transaction():
        insert = desk.transact("insert", session)
        await wait_until_async(lambda: desk.started == ["insert"])
        abort = desk.transact("abort", session)
        desk.admission.stop()
        with pytest.raises(PoolClosingError):
            await asyncio.wait_for(abort, 20)
        desk.open_all()
        assert await asyncio.wait_for(insert, 20) == "insert"


def open_transactions(replica_set: ReplicaSet) -> int:
    with replica_set.primary.client() as client:
        return int(client.admin.command("serverStatus")["transactions"]["currentOpen"])


async def test_an_abort_that_waited_long_for_a_cancelled_operation_is_not_refused(
    mongodb_replica_set: ReplicaSet, wait_until_async: Callable[..., Any]
) -> None:
    """Refused, its error would take the place of the cancellation, and Motor would abort on the event loop."""
    motor = Subject("motor")
    client = await motor.initialize(mongodb_replica_set.uri, maxPoolSize=10, minPoolSize=0, waitQueueTimeoutMS=300)
    accounts = client[motor.name].accounts
    slow = {"failCommands": ["find"], "appName": motor.name, "blockConnection": True, "blockTimeMS": 1500}

    async def transact() -> None:
        async with await client.start_session() as session, session.start_transaction():
            await accounts.insert_one({"_id": 1}, session=session)
            await accounts.find_one({}, session=session)

    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = now()
            await asyncio.sleep(0.01)
            took = now() - began
            longest = max(longest, took.seconds - took.stalled)

    watching = asyncio.create_task(watch())
    try:
        await accounts.insert_one({"_id": 0})
        with mongodb_replica_set.primary.fail_point("failCommand", {"times": 1}, slow):
            task = asyncio.create_task(transact())
            await wait_until_async(lambda: motor.pool.snapshot().totals.used == 1)
            await asyncio.sleep(0.2)
            task.cancel()
            await asyncio.wait({task}, timeout=10)
        assert task.cancelled()
        assert longest < 0.7, "the event loop was blocked"
        assert await accounts.count_documents({}) == 1
        assert motor.pool.snapshot().executor.refused["timeout"] == 0
    finally:
        watching.cancel()
        await motor.close(drain=1, timeout=5)
