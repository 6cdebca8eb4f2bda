"""AsyncMongoDBConnectionPool: the pool for asyncio. It awaits; what it decides is decided in ``lifecycle``."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast, overload

from .asking import Manner, Request
from .async_access import AsyncAccess, Backend, ClientT
from .async_opening import open_patiently
from .bounds import close_grace
from .daemon import wait_in_loop
from .errors import PoolLoopError
from .health.mixins import AsyncHealth
from .loops import running_loop
from .patience import OnFailure, Patience
from .pool_base import CLOSE_LOOK, PoolBase
from .report import NOT_INITIALIZED
from .retry.async_retrying import AsyncRetrying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from .async_access import MotorClient, PyMongoClient
    from .backends.handle import AsyncClientHandle, ClientHandle
    from .config import PoolConfig

    Connection: TypeAlias = (
        str | PoolConfig | Callable[[], str | PoolConfig] | Callable[[], Awaitable[str | PoolConfig]] | None
    )

__all__ = ["AsyncMongoDBConnectionPool", "Backend"]


class AsyncMongoDBConnectionPool(AsyncHealth, AsyncRetrying, AsyncAccess[ClientT], PoolBase):
    """One process-wide MongoDB client for asyncio: opened once, shared, watched, closed cleanly.

    The class is the pool; calling it returns its one instance. A second pool is a subclass, or ``named``::

        class OrdersPool(AsyncMongoDBConnectionPool): ...
        class EventsPool(AsyncMongoDBConnectionPool[AsyncMongoClient[dict[str, Any]]]): ...

    The type argument tells a type checker, and the pool, which driver's client is meant; the class keyword
    ``backend="pymongo"`` chooses it too, for code that is not type-checked.
    """

    _backends: ClassVar[tuple[str, ...]] = ("motor", "pymongo")
    _opens_with: ClassVar[str] = "await {}.initialize(...)"

    @overload
    @classmethod
    async def initialize(
        cls,
        connection: Connection = None,
        *,
        backend: None = None,
        timeout: float | None = None,
        warm_up: bool = False,
        preset: str | None = None,
        retry_for: float | None = None,
        on_failure: OnFailure = "raise",
        **options: Any,
    ) -> ClientT: ...
    @overload
    @classmethod
    async def initialize(
        cls,
        connection: Connection = None,
        *,
        backend: Literal["motor"],
        timeout: float | None = None,
        warm_up: bool = False,
        preset: str | None = None,
        retry_for: float | None = None,
        on_failure: OnFailure = "raise",
        **options: Any,
    ) -> MotorClient: ...
    @overload
    @classmethod
    async def initialize(
        cls,
        connection: Connection = None,
        *,
        backend: Literal["pymongo"],
        timeout: float | None = None,
        warm_up: bool = False,
        preset: str | None = None,
        retry_for: float | None = None,
        on_failure: OnFailure = "raise",
        **options: Any,
    ) -> PyMongoClient: ...

    @classmethod
    async def initialize(
        cls,
        connection: Connection = None,
        *,
        backend: Backend | None = None,
        timeout: float | None = None,
        warm_up: bool = False,
        preset: str | None = None,
        retry_for: float | None = None,
        on_failure: OnFailure = "raise",
        **options: Any,
    ) -> Any:
        """Open the pool, or return its client when it is open with an equal configuration.

        Cheap enough to call per request. With a different configuration the client is replaced: the new one
        is opened first, and the old one goes once nobody uses it.

        Args:
            connection: A connection string, a ``PoolConfig``, or a callable (sync or async) that returns one
                and is called for each client that is made. None: what ``initialize`` or ``configure`` was given
                before, completed by what is given here, else ``MONGODB_URI``.
            backend: "motor" (AsyncIOMotorClient) or "pymongo" (AsyncMongoClient); default: the class's.
            timeout: Seconds for everything, with ``retry_for`` for each attempt; default:
                ``serverSelectionTimeoutMS`` (5 s). Who waits for another caller's attempt gives it half a second
                more to report.
            warm_up: Wait, within ``timeout``, until minPoolSize connections are open.
            preset: "development", "production", "high_concurrency", "serverless" or "fast_failover": other
                defaults.
            retry_for: Seconds in which to try again, with growing pauses, while no server can be reached; never
                after a refused login or configuration. The last try may take ``timeout`` more. Default: one
                attempt.
            on_failure: "degraded" opens the pool although no server could be reached (unless another client
                serves): operations fail until one appears, and then work by themselves. With ``retry_for`` that
                takes one try more. Default "raise".
            **options: Any option of the driver, under any spelling, and the pool's own, as ``PoolOptions``
                documents them: ``max_waiting``, ``slow_checkout_ms``, ``command_stats``, ``retire_after`` ...

        Returns:
            The driver's own client.

        Raises:
            PoolConfigurationError: An option, a value or the connection string cannot be used.
            PoolLoopError: The client is bound to another event loop that is still running.
            PoolClosingError: The pool was closed meanwhile.
            PoolStartTimeoutError: It took longer than ``timeout``.
            PyMongoError: Whatever the driver met while connecting, its text without secrets.
        """
        request = Request(connection, backend, preset, options)
        # Both may hold a password, which a traceback with local variables would show.
        del connection, options
        client = cls._lifecycle.reuse(request, running_loop())
        if client is not None:
            return client
        manner = Manner(timeout, warm_up)
        return (await open_patiently(cls, request, manner, Patience.of(retry_for, on_failure))).client

    @classmethod
    async def rotate(
        cls,
        connection: Connection = None,
        *,
        timeout: float | None = None,
        warm_up: bool = False,
        **options: Any,
    ) -> ClientT:
        """Replace the client by a new one, also when nothing in the configuration differs.

        For credentials that changed, and for servers that moved behind the same name. A callable connection is
        called again. The new client is opened first; if that fails the old one stays. Concurrent calls share a
        client that was begun after they were.

        Args:
            connection: As for ``initialize``; None: what was given before. Backend, preset and options that
                were given before stay, but for those that ``options`` or this connection string itself names.
            timeout: As for ``initialize``.
            warm_up: As for ``initialize``.
            **options: As for ``initialize``.

        Returns:
            The new client; code that keeps the old one has at least ``retire_after`` seconds.

        Raises:
            PyMongoError: As for ``initialize``.
        """
        request = Request(connection, None, None, options)
        del connection, options
        manner = Manner(timeout, warm_up, fresh=True)
        return cast("ClientT", (await open_patiently(cls, request, manner, Patience())).client)

    @overload
    @classmethod
    def scope(
        cls,
        connection: Connection = None,
        *,
        backend: None = None,
        timeout: float | None = None,
        warm_up: bool = False,
        preset: str | None = None,
        retry_for: float | None = None,
        on_failure: OnFailure = "raise",
        **options: Any,
    ) -> AbstractAsyncContextManager[ClientT]: ...
    @overload
    @classmethod
    def scope(
        cls,
        connection: Connection = None,
        *,
        backend: Literal["motor"],
        timeout: float | None = None,
        warm_up: bool = False,
        preset: str | None = None,
        retry_for: float | None = None,
        on_failure: OnFailure = "raise",
        **options: Any,
    ) -> AbstractAsyncContextManager[MotorClient]: ...
    @overload
    @classmethod
    def scope(
        cls,
        connection: Connection = None,
        *,
        backend: Literal["pymongo"],
        timeout: float | None = None,
        warm_up: bool = False,
        preset: str | None = None,
        retry_for: float | None = None,
        on_failure: OnFailure = "raise",
        **options: Any,
    ) -> AbstractAsyncContextManager[PyMongoClient]: ...

    @classmethod
    def scope(
        cls,
        connection: Connection = None,
        *,
        backend: Backend | None = None,
        timeout: float | None = None,
        warm_up: bool = False,
        preset: str | None = None,
        retry_for: float | None = None,
        on_failure: OnFailure = "raise",
        **options: Any,
    ) -> Any:
        """Open the pool for the length of an ``async with`` block, or share the open one.

        Scopes count: the last one out closes the pool, and only if a scope opened it; that takes 10 s at most,
        as ``close()`` does.

        Args:
            connection: As for ``initialize``; so are all the others.
            backend: "motor" or "pymongo"; default: the class's.
            timeout: Seconds for opening.
            warm_up: Wait until minPoolSize connections are open.
            preset: Other defaults.
            retry_for: Seconds for which to try again.
            on_failure: "raise" or "degraded".
            **options: Any option of the driver, and ours.

        Raises:
            PoolConfigurationConflict: On entry: the pool is open with another configuration.
            PyMongoError: On entry: as for ``initialize``.
        """
        request = Request(connection, backend, preset, options)
        return cls._scope(request, Manner(timeout, warm_up), retry_for, on_failure)

    @classmethod
    @asynccontextmanager
    async def _scope(
        cls, request: Request, manner: Manner, retry_for: float | None, on_failure: OnFailure
    ) -> AsyncIterator[Any]:
        ticket = cls._lifecycle.enter_scope()
        try:
            patience = Patience.of(retry_for, on_failure)
            handle = await open_patiently(cls, request, manner, patience, ticket)
            yield handle.client
        finally:
            await cls._finish(cls._lifecycle.leave_scope(ticket), drain=5, timeout=10)

    @classmethod
    async def get_pool_stats(cls, *, server: bool = False) -> dict[str, Any]:
        """What the pool is and how it is; never raises, and answers within 2 s.

        Args:
            server: Also ask the server for its own count of connections (``server_connections``), which needs
                the right to run serverStatus.

        Returns:
            ``{"status": "not_initialized"}``, or the keys that ``async_mongo_pool.report.pool_stats`` documents.
            The status is "error" only when no server can be selected or a ping that had a connection failed;
            a pool with every connection in use is "connected" and ``saturated``.
        """
        handle = cls._lifecycle.handle()
        if handle is None or cls._lifecycle.client_for(running_loop()) is None:
            return dict(NOT_INITIALIZED)
        return cls._stats(handle, await cast("AsyncClientHandle", handle).examine(server=server))

    @classmethod
    async def close(cls, *, drain: float = 5, timeout: float = 10) -> None:
        """Close the pool: refuse new work, wait for work in progress, close. Idempotent.

        Concurrent callers share one closing, and cancelling one of them cancels no other. The event loop is
        never blocked, a server that does not answer never makes it raise, and any loop may call it.

        Args:
            drain: Seconds to wait for operations and transactions in progress.
            timeout: Seconds for everything. What is still busy then is given up and logged.

        Raises:
            PoolConfigurationError: One of them is not a number of seconds.
        """
        cls._check_bounds(drain, timeout)
        await cls._finish(cls._lifecycle.detach(), drain, timeout)

    @classmethod
    async def _finish(cls, handles: list[ClientHandle], drain: float, timeout: float) -> None:
        deadline = time.monotonic() + timeout + close_grace(timeout)
        closings = cls._begin_finish(handles, drain, timeout)
        while (pending := cls._pending(handles)) and (left := deadline - time.monotonic()) > 0:
            # How a closing failed is logged when it ends; whoever closes can do nothing about it.
            with suppress(Exception):
                await wait_in_loop(pending[0], min(left, CLOSE_LOOK))
        cls._tell_unfinished(closings, timeout)

    @classmethod
    def close_sync(cls, *, drain: float = 5, timeout: float = 10) -> None:
        """``close`` for code without a running event loop: ``atexit``, plain functions, the end of a script.

        Args:
            drain: Seconds to wait for operations and transactions in progress.
            timeout: Seconds for everything.

        Raises:
            PoolLoopError: An event loop runs in this thread and would be blocked.
        """
        if running_loop() is not None:
            raise PoolLoopError.would_block(cls._lifecycle.name)
        cls._check_bounds(drain, timeout)
        cls._finish_blocking(cls._lifecycle.detach(), drain, timeout)

    @classmethod
    async def close_all(cls, *, drain: float = 5, timeout: float = 10) -> None:
        """Close every pool of this twin, the newest first.

        Args:
            drain: Seconds to wait for operations in progress, over all pools.
            timeout: Seconds for everything, over all pools.

        Raises:
            PoolConfigurationError: One of them is not a number of seconds.
        """
        cls._check_bounds(drain, timeout)
        began = time.monotonic()
        pools = cls._newest_first()
        while pools and (left := began + timeout - time.monotonic()) > 0:
            await pools.pop(0).close(drain=max(began + drain - time.monotonic(), 0), timeout=left)
        # No time is left for the others: they are closed side by side, without waiting for their work.
        handles = [handle for pool in pools for handle in pool._lifecycle.detach()]
        await cls._finish(handles, drain=0, timeout=0)
