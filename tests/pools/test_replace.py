"""Replacing a client under load: nothing fails, and the old one is gone afterwards."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import InvalidOperation

from async_mongo_pool.retirement import next_look
from tests.timing import now

from .subjects import Subject, ping

if TYPE_CHECKING:
    from collections.abc import Callable

RETIRE_AFTER = 1.5


async def keep_inserting(subject: Subject, client: Any, stop: asyncio.Event) -> int:
    """A task that keeps its database handle for as long as the old client lives by contract."""
    collection = client.replaced.inserts
    count = 0
    while not stop.is_set():
        await subject.call(collection.insert_one, {"n": count})
        count += 1
    return count


async def read_slowly(subject: Subject, client: Any) -> int:
    count = 0
    async for _ in subject.documents(client.replaced.documents.find({}, batch_size=5)):
        count += 1
        if count % 5 == 0:
            await asyncio.sleep(0.05)
    return count


async def transfer(subject: Subject, client: Any, number: int, change: asyncio.Event) -> None:
    """A transaction that is open while the client is replaced."""
    session = await subject.session(client)
    await subject.call(session.start_transaction)
    accounts = client.replaced.accounts
    await subject.call(lambda: accounts.insert_one({"_id": f"{subject.name} {number} a"}, session=session))
    await change.wait()
    await asyncio.sleep(0.2)
    await subject.call(lambda: accounts.insert_one({"_id": f"{subject.name} {number} b"}, session=session))
    await subject.call(session.commit_transaction)
    await subject.end(session)


async def test_nothing_fails_across_a_change_of_options(
    subject: Subject, mongodb_replica_set: Any, wait_until_async: Callable[..., Any]
) -> None:
    old_name = f"{subject.name}-old"
    uri = mongodb_replica_set.uri
    # 200 tasks on 50 connections wait for each other, longer than the default admits on a slow machine.
    options = {"retire_after": RETIRE_AFTER, "waitQueueTimeoutMS": 20000}
    old = await subject.initialize(uri, appName=old_name, maxPoolSize=50, **options)
    await subject.call(old.replaced.documents.delete_many, {})
    await subject.call(old.replaced.documents.insert_many, [{"n": n} for n in range(100)])
    # A collection that a transaction creates conflicts with the other transactions.
    await subject.call(old.replaced.accounts.insert_one, {})
    await subject.call(old.replaced.accounts.delete_many, {})
    stop, change = asyncio.Event(), asyncio.Event()
    # The twin's calls run in threads: enough of them for all to be under way at once.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(250, thread_name_prefix="asyncio_"))
    writers = [asyncio.ensure_future(keep_inserting(subject, old, stop)) for _ in range(200)]
    readers = [asyncio.ensure_future(read_slowly(subject, old)) for _ in range(20)]
    transfers = [asyncio.ensure_future(transfer(subject, old, n, change)) for n in range(20)]
    await asyncio.sleep(0.3)

    new = await subject.initialize(uri, appName=subject.name, maxPoolSize=60, **options)
    changed = time.monotonic()
    change.set()
    assert new is not old
    await asyncio.sleep(RETIRE_AFTER * 0.6)
    stop.set()

    assert sum(await asyncio.gather(*writers)) > 0
    assert await asyncio.gather(*readers) == [100] * 20
    await asyncio.gather(*transfers)
    assert await subject.call(new.replaced.accounts.count_documents, {}) == 40

    def connections_of_the_old() -> int:
        return sum(len(member.connections(appname=old_name)) for member in mongodb_replica_set.members)

    await wait_until_async(lambda: not connections_of_the_old(), timeout=20, message="the old client is open")
    assert time.monotonic() - changed >= RETIRE_AFTER
    assert (await subject.call(ping, new))["ok"] == 1


async def test_an_unfinished_cursor_outlives_retire_after(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    old = await subject.initialize(mongodb_uri, retire_after=0.2, retire_limit=30)
    await subject.call(old.retired.numbers.delete_many, {})
    await subject.call(old.retired.numbers.insert_many, [{"n": n} for n in range(10)])
    documents = subject.documents(old.retired.numbers.find({}, batch_size=2))
    first = await anext(documents)
    await subject.initialize(mongodb_uri, maxPoolSize=11)
    # Five times retire_after: long enough for a client that counts as unused to be gone.
    await asyncio.sleep(1)
    rest = [document async for document in documents]
    assert [first["n"], *(document["n"] for document in rest)] == list(range(10))
    await wait_until_async(lambda: not subject.pool._lifecycle.retired, timeout=20, message="it never went")


async def test_a_handle_kept_too_long_gets_the_drivers_error(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    old = await subject.initialize(mongodb_uri, retire_after=0.1)
    await subject.initialize(mongodb_uri, maxPoolSize=11)
    await wait_until_async(lambda: not subject.pool._lifecycle.retired, timeout=10, message="it never went")
    with pytest.raises(InvalidOperation):
        await subject.call(ping, old)


async def test_retire_limit_ends_what_never_comes_to_rest(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    old = await subject.initialize(mongodb_uri, retire_after=0.1, retire_limit=0.5)
    kept = old.retired.numbers.find({}, batch_size=1)
    await subject.initialize(mongodb_uri, maxPoolSize=11)
    await wait_until_async(lambda: not subject.pool._lifecycle.retired, timeout=10, message="it never went")
    del kept


async def test_close_takes_the_retired_with_it(subject: Subject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    await subject.initialize(mongodb_uri, maxPoolSize=11)
    assert len(subject.pool._lifecycle.retired) == 1
    began = now()
    await subject.close()
    assert now() - began < 3
    assert not subject.pool._lifecycle.retired


@pytest.mark.core
def test_the_looks_at_a_retired_client() -> None:
    assert next_look(elapsed=0, looks=0, after=30, limit=300) == 30
    assert next_look(elapsed=10, looks=0, after=30, limit=300) == 20
    assert next_look(elapsed=30, looks=1, after=30, limit=300) == 0.5
    assert next_look(elapsed=100, looks=9, after=30, limit=300) == 15
    assert next_look(elapsed=295, looks=9, after=30, limit=300) == 5
    assert next_look(elapsed=300, looks=9, after=30, limit=300) is None
    assert next_look(elapsed=0, looks=0, after=0, limit=300) == 0.25


def test_a_retired_client_does_not_outlive_its_loop(mongodb_uri: str) -> None:
    subject = Subject("pymongo")

    async def replace() -> None:
        await subject.initialize(mongodb_uri)
        await subject.initialize(mongodb_uri, maxPoolSize=11)
        assert len(subject.pool._lifecycle.retired) == 1

    asyncio.run(replace())
    assert not subject.pool._lifecycle.retired
    subject.pool.close_sync()
