"""Every kind of work that Motor does on its workers, each as a coroutine of several steps."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorGridFSBucket, AsyncIOMotorGridOut

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 1024


async def prepare(client: Any, name: str) -> None:
    """Documents for several batches, and a file of several chunks."""
    database = client[name]
    await database.numbers.insert_many([{"n": n} for n in range(30)])
    bucket = AsyncIOMotorGridFSBucket(database, chunk_size_bytes=CHUNK)
    await bucket.upload_from_stream("file", b"x" * CHUNK * 3)


async def find_to_list(client: Any, name: str) -> None:
    assert len(await client[name].numbers.find().batch_size(10).to_list(None)) == 30


async def find_to_list_in_pieces(client: Any, name: str) -> None:
    cursor = client[name].numbers.find().batch_size(10)
    while await cursor.to_list(15):
        pass


async def find_async_for(client: Any, name: str) -> None:
    assert len([each async for each in client[name].numbers.find().batch_size(10)]) == 30


async def find_each(client: Any, name: str) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def callback(document: Any, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        elif document is None:
            done.set_result(None)

    client[name].numbers.find().batch_size(10).each(callback)
    await done


async def find_and_close(client: Any, name: str) -> None:
    cursor = client[name].numbers.find().batch_size(10)
    await cursor.next()
    await cursor.close()


async def aggregate_to_list(client: Any, name: str) -> None:
    assert len(await client[name].numbers.aggregate([], batchSize=10).to_list(None)) == 30


async def aggregate_async_for(client: Any, name: str) -> None:
    assert len([each async for each in client[name].numbers.aggregate([], batchSize=10)]) == 30


async def list_indexes(client: Any, name: str) -> None:
    assert len(await client[name].numbers.list_indexes().to_list(None)) == 1


async def commands_cursor(client: Any, name: str) -> None:
    cursor = await client[name].cursor_command("find", "numbers", batchSize=3, limit=5)
    while cursor.alive and await cursor.try_next() is not None:
        pass


async def single_operations(client: Any, name: str) -> None:
    await client[name].others.insert_one({"n": 1})
    assert (await client[name].others.find_one())["n"] == 1
    await client[name].command("ping")


async def commit(client: Any, name: str) -> None:
    async with await client.start_session() as session, session.start_transaction():
        await client[name].numbers.update_one({"n": 1}, {"$set": {"m": 1}}, session=session)
        await client[name].numbers.find({}, session=session).batch_size(20).to_list(None)


async def abort(client: Any, name: str) -> None:
    session = await client.start_session()
    session.start_transaction()
    await client[name].numbers.update_one({"n": 2}, {"$set": {"m": 1}}, session=session)
    await session.abort_transaction()
    await session.end_session()


async def with_transaction(client: Any, name: str) -> None:
    async def body(session: Any) -> None:
        await client[name].numbers.update_one({"n": 3}, {"$set": {"m": 1}}, session=session)

    async with await client.start_session() as session:
        await session.with_transaction(body)


async def gridfs_download(client: Any, name: str) -> None:
    bucket = AsyncIOMotorGridFSBucket(client[name], chunk_size_bytes=CHUNK)
    stream = await bucket.open_download_stream_by_name("file")
    assert len(await stream.read(10)) == 10
    assert len(await stream.readchunk()) == CHUNK - 10
    assert len(await stream.read()) == CHUNK * 2
    target = io.BytesIO()
    await bucket.download_to_stream_by_name("file", target)


async def gridfs_upload(client: Any, name: str) -> None:
    bucket = AsyncIOMotorGridFSBucket(client[name], chunk_size_bytes=CHUNK)
    async with bucket.open_upload_stream("written") as stream:
        await stream.write(b"y" * CHUNK * 2)
        await stream.write(b"y")
    await bucket.upload_from_stream("other", b"z")


async def gridfs_find(client: Any, name: str) -> None:
    bucket = AsyncIOMotorGridFSBucket(client[name], chunk_size_bytes=CHUNK)
    assert [each.length async for each in bucket.find({"filename": "file"})] == [CHUNK * 3]


async def gridfs_open(client: Any, name: str) -> None:
    found = await client[name].fs.files.find_one({"filename": "file"})
    stream = AsyncIOMotorGridOut(client[name].fs, file_id=found["_id"])
    assert (await stream.open()) is stream
    assert [len(chunk) async for chunk in stream] == [CHUNK] * 3


async def change_stream(client: Any, name: str) -> None:
    async with client[name].watched.watch(max_await_time_ms=10) as stream:
        await client[name].watched.insert_one({})
        assert await stream.next()
        assert await stream.try_next() is None


TRANSACTIONS = frozenset({"commit", "abort", "with_transaction"})

ENTRIES: dict[str, Callable[[Any, str], Any]] = {
    each.__name__: each
    for each in (
        find_to_list,
        find_to_list_in_pieces,
        find_async_for,
        find_each,
        find_and_close,
        aggregate_to_list,
        aggregate_async_for,
        list_indexes,
        commands_cursor,
        single_operations,
        commit,
        abort,
        with_transaction,
        gridfs_download,
        gridfs_upload,
        gridfs_find,
        gridfs_open,
        change_stream,
    )
}
