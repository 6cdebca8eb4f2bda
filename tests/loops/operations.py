"""Every kind of operation that Motor has, as one text to run on any event loop."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop
from motor.motor_asyncio import AsyncIOMotorGridFSBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Main = Callable[[], Coroutine[Any, Any, Any]]

T = TypeVar("T")

NEW_LOOP: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
LOOP_KINDS = tuple(NEW_LOOP)


def run_on(kind: str, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """``asyncio.run`` on a new loop of this kind."""
    with asyncio.Runner(loop_factory=NEW_LOOP[kind]) as runner:
        return runner.run(main())


def run_at_once(mains: list[tuple[str, Main]]) -> None:
    """Run each in a loop and a thread of its own, all at the same time; the first error is raised here."""
    together = threading.Barrier(len(mains))
    errors: list[BaseException] = []

    def run(kind: str, main: Main) -> None:
        try:
            together.wait(10)
            run_on(kind, main)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in mains]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads)


async def every_kind(client: Any, database: str) -> None:
    """Run every kind of operation in a database of its own, and drop it."""
    for kind in KINDS:
        async with asyncio.timeout(20):
            await kind(client[database])
    await client.drop_database(database)


async def _collection(database: Any) -> None:
    numbers = database.numbers
    await numbers.insert_one({"n": 0})
    await numbers.insert_many([{"n": n} for n in range(1, 50)])
    await numbers.create_index("n")
    assert (await numbers.update_many({"n": {"$gte": 40}}, {"$set": {"big": True}})).modified_count == 10
    assert (await numbers.find_one_and_update({"n": 3}, {"$inc": {"seen": 1}}))["n"] == 3
    assert await numbers.count_documents({}) == 50
    assert len(await numbers.distinct("n")) == 50
    assert (await numbers.delete_one({"n": 0})).deleted_count == 1
    assert "numbers" in await database.list_collection_names()
    assert (await database.command("ping"))["ok"] == 1


async def _cursor(database: Any) -> None:
    numbers = database.numbers
    # Small batches: each of them is an operation of its own.
    assert [found["n"] async for found in numbers.find().sort("n").batch_size(7)] == list(range(1, 50))
    assert len(await numbers.find().batch_size(7).to_list(None)) == 49
    partly = numbers.find().sort("n").batch_size(7)
    assert len(await partly.to_list(10)) == 10
    assert (await partly.next())["n"] == 11
    await partly.close()
    callback: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    numbers.find({"n": 5}).each(partial(_first, callback))
    assert (await callback)["n"] == 5


def _first(future: asyncio.Future[Any], result: Any, error: Exception | None) -> bool:
    if not future.done():
        future.set_result(result) if error is None else future.set_exception(error)
    return result is not None


async def _aggregate(database: Any) -> None:
    big = [{"$match": {"n": {"$lt": 40}}}, {"$sort": {"n": 1}}]
    assert len([found async for found in database.numbers.aggregate(big, batchSize=7)]) == 39
    assert len(await database.numbers.aggregate(big, batchSize=7).to_list(None)) == 39
    indexes = await database.numbers.list_indexes().to_list(None)
    assert {index["name"] for index in indexes} == {"_id_", "n_1"}


async def _session(database: Any) -> None:
    async with await database.client.start_session(causal_consistency=True) as session:
        await database.numbers.insert_one({"n": 1000}, session=session)
        assert await database.numbers.find_one({"n": 1000}, session=session)
        assert await database.numbers.find({"n": 1000}, session=session).to_list(None)


async def _transaction(database: Any) -> None:
    async def write(session: Any) -> str:
        await database.numbers.insert_one({"n": 2000}, session=session)
        return "written"

    async with await database.client.start_session() as session:
        async with session.start_transaction():
            await write(session)
        assert await session.with_transaction(write) == "written"
        session.start_transaction()
        await write(session)
        await session.abort_transaction()
    assert await database.numbers.count_documents({"n": 2000}) == 2


async def _change_stream(database: Any) -> None:
    async with database.numbers.watch(max_await_time_ms=100) as stream:
        assert await stream.try_next() is None
        await database.numbers.insert_one({"n": 3000})
        async for change in stream:
            assert change["fullDocument"]["n"] == 3000
            break


async def _gridfs(database: Any) -> None:
    bucket = AsyncIOMotorGridFSBucket(database, chunk_size_bytes=1024)
    identifier = await bucket.upload_from_stream("name", b"x" * 5000)
    async with bucket.open_upload_stream("other") as upload:
        await upload.write(b"y" * 3000)
    download = await bucket.open_download_stream(identifier)
    assert await download.read() == b"x" * 5000
    assert sorted([file.filename async for file in bucket.find()]) == ["name", "other"]
    await bucket.delete(identifier)


KINDS = (_collection, _cursor, _aggregate, _session, _transaction, _change_stream, _gridfs)
