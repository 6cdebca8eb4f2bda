"""A worker: takes jobs out of a collection until SIGTERM, finishes the one at hand, then closes.

MONGODB_URI=mongodb://localhost:27017 python examples/worker.py
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

from async_mongo_pool import AsyncMongoDBConnectionPool as Pool

URI = os.environ.get("MONGODB_URI", "mongodb://localhost:27017")


async def take(jobs: Any) -> dict[str, Any] | None:
    taken: dict[str, Any] | None = await jobs.find_one_and_update(
        {"state": "new"}, {"$set": {"state": "taken"}}, sort=[("_id", 1)]
    )
    return taken


async def work(stopping: asyncio.Event) -> int:
    jobs = Pool.get_database("example_worker").jobs
    done = 0
    while not stopping.is_set():
        job = await take(jobs)
        if job is None:
            # Nothing to do: look again in a while, or leave at once when told to.
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 0.2)
            continue
        await jobs.update_one({"_id": job["_id"]}, {"$set": {"state": "done", "result": job["number"] ** 2}})
        done += 1
    return done


async def main() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await Pool.initialize(URI, appName="example-worker", maxPoolSize=10)
    try:
        print("working", flush=True)
        print("done:", await work(stopping))
    finally:
        await Pool.close(drain=10, timeout=15)


if __name__ == "__main__":
    asyncio.run(main())
