"""A MongoDB of the command line's own, from the ``embedded`` extra."""

from __future__ import annotations

from concurrent.futures import wait
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from async_mongo_pool.daemon import in_daemon_thread, wait_in_loop
from async_mongo_pool.testing import MongodNotFoundError, ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager

    from async_mongo_pool.testing import Mongod

__all__ = ["own_server"]

_START_LIMIT = 40.0
_STOP_LIMIT = 1.0


@asynccontextmanager
async def own_server(progress: AbstractAsyncContextManager[None]) -> AsyncIterator[str]:
    """A server for as long as the block takes; its address.

    Args:
        progress: Shows that something goes on while the server starts.

    Raises:
        ServerError: There is no ``mongod``, or it does not start.
    """
    mongod = _found()
    starting = in_daemon_thread("own-server", mongod.start)
    try:
        async with progress:
            await wait_in_loop(starting, _START_LIMIT)
        yield mongod.uri
    finally:
        # Should the limit be too short: its supervisor ends the server when this process is gone.
        with suppress(TimeoutError, ServerError):
            stopping = in_daemon_thread("own-server-stop", lambda: _stop(mongod, starting))
            await wait_in_loop(stopping, _STOP_LIMIT)


def _found() -> Mongod:
    from async_mongo_pool.testing import Mongod

    try:
        return Mongod()
    except MongodNotFoundError as error:
        raise ServerError(f"{error}; or name a server: --uri mongodb://host:27017/") from None


def _stop(mongod: Mongod, starting: Future[Any]) -> None:
    wait((starting,), _STOP_LIMIT)
    mongod.stop()
