"""MongoDBConnectionPool: the synchronous twin. Same names, options, statistics and errors, without ``await``."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, cast

from .asking import Manner, Request
from .health.mixins import SyncHealth
from .patience import OnFailure, Patience
from .pool_base import PoolBase
from .report import NOT_INITIALIZED
from .retry.sync_retrying import SyncRetrying
from .sync_opening import open_patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from bson.codec_options import CodecOptions
    from pymongo import MongoClient
    from pymongo.read_concern import ReadConcern
    from pymongo.read_preferences import _ServerMode
    from pymongo.synchronous.database import Database
    from pymongo.write_concern import WriteConcern

    from .backends.pymongo_sync import PyMongoSyncHandle
    from .config import PoolConfig

    Connection: TypeAlias = str | PoolConfig | Callable[[], str | PoolConfig] | None
    Client: TypeAlias = MongoClient[dict[str, Any]]

__all__ = ["MongoDBConnectionPool"]

Backend: TypeAlias = Literal["pymongo"]


class MongoDBConnectionPool(SyncHealth, SyncRetrying, PoolBase):
    """One process-wide MongoDB client for threads: opened once, shared, watched, closed cleanly.

    The class is the pool; calling it returns its one instance. A second pool is a subclass, or ``named``::

        class OrdersPool(MongoDBConnectionPool): ...
    """

    _backends: ClassVar[tuple[str, ...]] = ("pymongo",)
    _opens_with: ClassVar[str] = "{}.initialize(...)"

    @classmethod
    def initialize(
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
    ) -> Client:
        """Open the pool, or return its client when it is open with an equal configuration.

        Cheap enough to call per request. With a different configuration the client is replaced: the new one
        is opened first, and the old one goes once nobody uses it.

        Args:
            connection: A connection string, a ``PoolConfig``, or a callable that returns one and is called
                for each client that is made. None: what ``initialize`` or ``configure`` was given before,
                completed by what is given here, else ``MONGODB_URI``.
            backend: "pymongo", the only one here.
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
            PoolClosingError: The pool was closed meanwhile.
            PoolStartTimeoutError: It took longer than ``timeout``.
            PyMongoError: Whatever the driver met while connecting, its text without secrets.
        """
        request = Request(connection, backend, preset, options)
        # Both may hold a password, which a traceback with local variables would show.
        del connection, options
        client = cls._lifecycle.reuse(request, None)
        if client is not None:
            return cast("Client", client)
        manner = Manner(timeout, warm_up)
        return open_patiently(cls, request, manner, Patience.of(retry_for, on_failure)).client

    @classmethod
    def rotate(
        cls,
        connection: Connection = None,
        *,
        timeout: float | None = None,
        warm_up: bool = False,
        **options: Any,
    ) -> Client:
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
        return open_patiently(cls, request, Manner(timeout, warm_up, fresh=True), Patience()).client

    @classmethod
    def get_client(cls, backend: Backend | None = None) -> Client | None:
        """The open client, or None; never raises and costs next to nothing.

        Args:
            backend: The backend that the caller expects; with another one open the answer is None.
        """
        opened = cls._lifecycle.opened
        if opened is None or (backend is not None and opened.handle.backend != backend):
            return None
        return cast("Client", opened.client)

    @classmethod
    def get_database(
        cls,
        name: str | None = None,
        *,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Database[dict[str, Any]]:
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
        return cast(
            "Database[dict[str, Any]]",
            cls._database(
                name,
                codec_options=codec_options,
                read_preference=read_preference,
                write_concern=write_concern,
                read_concern=read_concern,
            ),
        )

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
    ) -> AbstractContextManager[Client]:
        """Open the pool for the length of a ``with`` block, or share the open one.

        Scopes count: the last one out closes the pool, and only if a scope opened it; that takes 10 s at most,
        as ``close()`` does.

        Args:
            connection: As for ``initialize``; so are all the others.
            backend: "pymongo".
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
    @contextmanager
    def _scope(
        cls, request: Request, manner: Manner, retry_for: float | None, on_failure: OnFailure
    ) -> Iterator[Client]:
        ticket = cls._lifecycle.enter_scope()
        try:
            patience = Patience.of(retry_for, on_failure)
            handle = open_patiently(cls, request, manner, patience, ticket)
            yield handle.client
        finally:
            cls._finish_blocking(cls._lifecycle.leave_scope(ticket), drain=5, timeout=10)

    @classmethod
    def get_pool_stats(cls, *, server: bool = False) -> dict[str, Any]:
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
        if handle is None:
            return dict(NOT_INITIALIZED)
        return cls._stats(handle, cast("PyMongoSyncHandle", handle).examine(server=server))

    @classmethod
    def close(cls, *, drain: float = 5, timeout: float = 10) -> None:
        """Close the pool: wait for work in progress, close. Idempotent.

        Concurrent callers share one closing. A server that does not answer never makes it raise, and any
        thread may call it.

        Args:
            drain: Seconds to wait for operations and transactions in progress.
            timeout: Seconds for everything. What is still busy then is given up and logged.

        Raises:
            PoolConfigurationError: One of them is not a number of seconds.
        """
        cls._check_bounds(drain, timeout)
        cls._finish_blocking(cls._lifecycle.detach(), drain, timeout)

    close_sync = close

    @classmethod
    def close_all(cls, *, drain: float = 5, timeout: float = 10) -> None:
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
            pools.pop(0).close(drain=max(began + drain - time.monotonic(), 0), timeout=left)
        # No time is left for the others: they are closed side by side, without waiting for their work.
        handles = [handle for pool in pools for handle in pool._lifecycle.detach()]
        cls._finish_blocking(handles, drain=0, timeout=0)
