"""Open a pool, use it, and end in one of several ways; the last line tells when ``main`` was over."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from async_mongo_pool.testing import waiting

from .common import BOUND, Service, say

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

OPERATIONS = 8


async def closed(service: Service) -> None:
    await service.use(await service.open())
    await service.close()


async def closed_by_scope(service: Service) -> None:
    manager = service.pool.scope(service.uri, **service.options)
    if service.backend == "sync":
        with manager as client:
            await service.use(client)
        return
    async with manager as client:
        await service.use(client)


async def never_closed(service: Service) -> None:
    await service.use(await service.open())


async def never_closed_after_a_replacement(service: Service) -> None:
    await service.use(await service.open())
    await service.use(await service.initialize(service.uri, **service.options, maxPoolSize=7))


async def never_closed_with_an_overwritten_loop(service: Service) -> None:
    client = await service.open()
    client.get_io_loop = asyncio.get_running_loop
    await service.use(client)


async def closed_at_exit(service: Service) -> None:
    """By a function of the application, which ``atexit`` calls before it comes to ours."""
    await service.use(await service.open())
    atexit.register(service.pool.close_sync)


async def three_pools_never_closed(service: Service) -> None:
    await service.use(await service.open())
    for number in range(2):
        other = service.pool.named(f"{service.name}-{number}")
        await service.call(other.initialize, service.uri, **service.options)


async def frozen(service: Service) -> None:
    """Operations run, and more are started, while the server is stopped: nobody will answer."""
    client = await service.open()
    running = [_begin(service, client, millis=60_000, lock="none") for _ in range(OPERATIONS)]
    handle = service.pool._lifecycle.handle()
    await waiting.wait_until_async(lambda: handle.in_use() == OPERATIONS, BOUND, "the operations to run")
    say(ready=True, name=service.name)
    await asyncio.to_thread(sys.stdin.readline)
    running += [_begin(service, client, millis=1, lock="none") for _ in range(OPERATIONS)]
    await asyncio.sleep(0.1)
    say(operations=len(running))


def _begin(service: Service, client: Any, **arguments: Any) -> Any:
    def operation() -> Any:
        return client.admin.command("sleep", **arguments)

    if service.backend != "sync":
        return asyncio.ensure_future(_quietly(operation))
    thread = threading.Thread(target=_quietly_in_thread, args=(operation,), daemon=True)
    thread.start()
    return thread


async def _quietly(operation: Callable[[], Any]) -> None:
    with suppress(PyMongoError):
        await operation()


def _quietly_in_thread(operation: Callable[[], Any]) -> None:
    with suppress(PyMongoError):
        operation()


WAYS: tuple[Callable[[Service], Coroutine[Any, Any, None]], ...] = (
    closed,
    closed_by_scope,
    never_closed,
    never_closed_after_a_replacement,
    never_closed_with_an_overwritten_loop,
    closed_at_exit,
    three_pools_never_closed,
    frozen,
)


class Closings(logging.Handler):
    """Reports what the library tells of a closing, until the very end of the process."""

    def emit(self, record: logging.LogRecord) -> None:
        if "closed" in record.getMessage():
            say(told=record.getMessage())


def main() -> None:
    logger = logging.getLogger("async_mongo_pool")
    logger.setLevel(logging.INFO)
    logger.addHandler(Closings())
    way, backend, uri = sys.argv[1:]
    service = Service(backend, uri)
    by_name = {known.__name__: known for known in WAYS}
    asyncio.run(by_name[way](service))
    say(over=time.monotonic(), name=service.name)


if __name__ == "__main__":
    main()
