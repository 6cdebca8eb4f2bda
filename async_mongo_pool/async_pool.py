"""AsyncMongoDBConnectionPool: the pool for asyncio. It awaits; what it decides is decided in ``lifecycle``."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, cast, overload

from typing_extensions import TypeVar

from .asking import Request
from .async_opening import open_handle
from .daemon import wait_in_loop
from .errors import PoolLoopError
from .loops import running_loop
from .pool_base import CLOSE_GRACE, PoolBase
from .report import NOT_INITIALIZED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from bson.codec_options import CodecOptions
    from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
    from pymongo import AsyncMongoClient
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.read_concern import ReadConcern
    from pymongo.read_preferences import _ServerMode
    from pymongo.write_concern import WriteConcern

    from .backends.handle import AsyncClientHandle, ClientHandle
    from .config import PoolConfig

    Connection: TypeAlias = (
        str | PoolConfig | Callable[[], str | PoolConfig] | Callable[[], Awaitable[str | PoolConfig]] | None
    )
    MotorClient: TypeAlias = AsyncIOMotorClient[dict[str, Any]]
    PyMongoClient: TypeAlias = AsyncMongoClient[dict[str, Any]]

__all__ = ["AsyncMongoDBConnectionPool"]

ClientT = TypeVar(
    "ClientT",
    bound="AsyncIOMotorClient[Any] | AsyncMongoClient[Any]",
    default="AsyncIOMotorClient[dict[str, Any]]",
)
Backend: TypeAlias = Literal["motor", "pymongo"]


class AsyncMongoDBConnectionPool(PoolBase, Generic[ClientT]):
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
        **options: Any,
    ) -> Any:
        """Open the pool, or return its client when it is open with an equal configuration.

        Cheap enough to call per request. With a different configuration the client is replaced: the new one
        is opened first, and the old one goes once nobody uses it.

        Args:
            connection: A connection string, a ``PoolConfig``, or a callable (sync or async) that returns one
                and is called whenever a connection has to be made. None: what ``initialize`` or ``configure``
                was given before, completed by what is given here, else ``MONGODB_URI``.
            backend: "motor" (AsyncIOMotorClient) or "pymongo" (AsyncMongoClient); default: the class's.
            timeout: Seconds for everything; default: ``serverSelectionTimeoutMS`` (5 s). Who waits for
                another caller's attempt gives it half a second more to report.
            warm_up: Wait, within ``timeout``, until minPoolSize connections are open.
            preset: "development", "production", "high_concurrency" or "serverless": other defaults.
            **options: Any option of the driver, under any spelling, and the pool's own, as ``PoolOptions``
                documents them: ``max_waiting``, ``slow_checkout_ms``, ``command_stats``, ``retire_after`` ...

        Returns:
            The driver's own client.

        Raises:
            PoolConfigurationError: An option, a value or the connection string cannot be used.
            PoolLoopError: The client is bound to another event loop that is still running.
            PoolStartTimeoutError: It took longer than ``timeout``.
            PyMongoError: Whatever the driver met while connecting, its text without secrets.
        """
        request = Request(connection, backend, preset, options)
        # Both may hold a password, which a traceback with local variables would show.
        del connection, options
        client = cls._lifecycle.reuse(request, running_loop())
        if client is not None:
            return client
        return (await open_handle(cls, request, timeout, warm_up=warm_up)).client

    @overload
    @classmethod
    def get_client(cls, backend: None = None) -> ClientT | None: ...
    @overload
    @classmethod
    def get_client(cls, backend: Literal["motor"]) -> MotorClient | None: ...
    @overload
    @classmethod
    def get_client(cls, backend: Literal["pymongo"]) -> PyMongoClient | None: ...

    @classmethod
    def get_client(cls, backend: Backend | None = None) -> Any:
        """The open client, or None; never raises and costs next to nothing.

        Args:
            backend: The backend that the caller expects, for type checkers where ``initialize`` chose it; with
                another one open the answer is None.
        """
        opened = cls._lifecycle.opened
        if opened is None or (backend is not None and opened.handle.backend != backend):
            return None
        if opened.loop is None or opened.loop.is_running():
            return opened.client
        return cls._lifecycle.client_for(running_loop())

    # mypy does not put a type parameter's default into a `cls` annotation, so Motor's overload has none.
    @overload
    @classmethod
    def get_database(
        cls: type[AsyncMongoDBConnectionPool[AsyncMongoClient[dict[str, Any]]]],
        name: str | None = None,
        *,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> AsyncDatabase[dict[str, Any]]: ...
    @overload
    @classmethod
    def get_database(  # type: ignore[overload-overlap]
        cls: type[AsyncMongoDBConnectionPool[AsyncMongoClient[Any]]],
        name: str | None = None,
        *,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> AsyncDatabase[Any]: ...
    @overload
    @classmethod
    def get_database(
        cls,
        name: str | None = None,
        *,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> AsyncIOMotorDatabase[dict[str, Any]]: ...

    @classmethod
    def get_database(
        cls,
        name: str | None = None,
        *,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Any:
        """A database of the open client.

        Args:
            name: The database's name; by default the one in the connection string.
            codec_options: As for the driver's ``get_database``; None inherits the client's.
            read_preference: Likewise.
            write_concern: Likewise.
            read_concern: Likewise.

        Raises:
            PoolNotInitializedError: The pool is not open.
            PoolClosingError: The pool is closing.
            PoolConfigurationError: No database was named anywhere.
        """
        return cls._database(
            name,
            codec_options=codec_options,
            read_preference=read_preference,
            write_concern=write_concern,
            read_concern=read_concern,
        )

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
        **options: Any,
    ) -> Any:
        """Open the pool for the length of an ``async with`` block, or share the open one.

        Scopes count: the last one out closes the pool, and only if a scope opened it.

        Args:
            connection: As for ``initialize``; so are all the others.
            backend: "motor" or "pymongo"; default: the class's.
            timeout: Seconds for opening.
            warm_up: Wait until minPoolSize connections are open.
            preset: Other defaults.
            **options: Any option of the driver, and ours.

        Raises:
            PoolConfigurationConflict: On entry: the pool is open with another configuration.
            PyMongoError: On entry: as for ``initialize``.
        """
        return cls._scope(Request(connection, backend, preset, options), timeout, warm_up=warm_up)

    @classmethod
    @asynccontextmanager
    async def _scope(cls, request: Request, timeout: float | None, *, warm_up: bool) -> AsyncIterator[Any]:
        ticket = cls._lifecycle.enter_scope()
        try:
            handle = await open_handle(cls, request, timeout, warm_up=warm_up, ticket=ticket)
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
        deadline = time.monotonic() + timeout + CLOSE_GRACE
        closings = cls._begin_finish(handles, drain, timeout)
        while (pending := cls._pending(handles)) and (left := deadline - time.monotonic()) > 0:
            # How a closing failed is logged when it ends; whoever closes can do nothing about it.
            with suppress(Exception):
                await wait_in_loop(pending[0], min(left, CLOSE_GRACE))
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
        """
        deadline = time.monotonic() + timeout
        for pool in cls._newest_first():
            remaining = max(deadline - time.monotonic(), 0.1)
            await pool.close(drain=min(drain, remaining), timeout=remaining)
