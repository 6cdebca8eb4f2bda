"""A service: opened at its start, closed at its end, and every request uses the same client.

A small HTTP server stands for the framework: Starlette, FastAPI and others take ``lifespan`` as it is.

    MONGODB_URI=mongodb://localhost:27017 python examples/service.py
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from async_mongo_pool import AsyncMongoDBConnectionPool as Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")


@asynccontextmanager
async def lifespan(_application: object) -> AsyncIterator[None]:
    async with Pool.scope(URI, appName="example-service", warm_up=True):
        yield


async def visit() -> str:
    visits = Pool.get_database("example_service").visits
    await visits.update_one({"_id": "all"}, {"$inc": {"count": 1}}, upsert=True)
    document = await visits.find_one({"_id": "all"})
    return f"visit {document['count'] if document else 0}\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(10):
        await reader.readuntil(b"\r\n\r\n")
        body = await visit()
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
    writer.close()


async def main() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    port = int(os.environ.get("PORT", "0"))
    async with lifespan(None), await asyncio.start_server(answer, "127.0.0.1", port) as server:
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)
        await stopping.wait()
    print("closed")


if __name__ == "__main__":
    asyncio.run(main())
