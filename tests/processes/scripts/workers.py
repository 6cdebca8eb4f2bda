"""Workers of ``multiprocessing`` that are given a PoolConfig."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any

from async_mongo_pool import PoolConfig

from .common import BOUND, Service, say

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

WORKERS = 2


def be_worker(config: PoolConfig, backend: str, answers: Connection) -> None:
    try:
        answers.send(asyncio.run(life_of_a_worker(config, backend)))
    except BaseException:
        answers.send({"failed": traceback.format_exc()})


async def life_of_a_worker(config: PoolConfig, backend: str) -> dict[str, Any]:
    service = Service(backend, "")
    before = service.pool.get_client()
    client = await service.initialize(config, **service.options)
    await service.use(client)
    stats = await service.stats()
    await service.close()
    return {"pid": os.getpid(), "before": before, "status": stats["status"], "replacements": stats["replacements"]}


def main() -> None:
    method, backend, uri = sys.argv[1:]
    config = PoolConfig(mongo_uri=uri)
    service = Service(backend, uri)
    service.serve()
    # A parent that is open itself, as in most services that start workers.
    client = service.run(lambda: service.initialize(config, **service.options))
    context = multiprocessing.get_context(method)
    answers: list[Any] = []
    workers = []
    for _ in range(WORKERS):
        receiving, sending = context.Pipe(duplex=False)
        worker = context.Process(target=be_worker, args=(config, backend, sending))  # type: ignore[attr-defined]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            worker.start()
        workers.append((worker, receiving))
    for worker, receiving in workers:
        answers.append(receiving.recv() if receiving.poll(BOUND) else {"failed": "no answer"})
        worker.join(BOUND)
        worker.kill()
    service.run(lambda: service.use(client))
    same = service.pool.get_client() is client
    service.run(service.close)
    service.stop()
    say(
        workers=answers,
        exit_codes=[worker.exitcode for worker, _ in workers],
        parents_client_is_the_same=same,
        pid=os.getpid(),
        pickled=repr(pickle.dumps(config)),
    )


if __name__ == "__main__":
    main()
