"""What the twins share: a pool is a class, and this is the part of it that never waits."""

from __future__ import annotations

import logging
import time
import weakref
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast, get_args, get_origin

from . import processes
from .asking import Request
from .bounds import close_grace
from .config.options import describe
from .errors import PoolClosingError, PoolConfigurationError, PoolNotInitializedError
from .lifecycle import Lifecycle
from .loops import running_loop
from .report import NOT_INITIALIZED, Findings, pool_stats
from .retry.state import state_of
from .stats import PoolSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from bson.codec_options import CodecOptions
    from pymongo.read_concern import ReadConcern
    from pymongo.read_preferences import _ServerMode
    from pymongo.write_concern import WriteConcern

    from .backends.handle import ClientHandle, CloseReport
    from .config import OptionInForce, PoolConfig
    from .stats import Holder

__all__ = ["CLOSE_LOOK", "PoolBase", "logger"]

logger = logging.getLogger("async_mongo_pool")

_BY_IDENTITY = frozenset({"event_listeners", "on_replace", "server_selector", "srv_host_validator"})
"""Options whose values are equal only if they are the same object."""

CLOSE_LOOK = 0.25
"""Seconds between two looks whether the event loop of a closing has ended, which nothing announces."""

_DRAIN_SHARE = 0.7
"""The part of a closing's time that draining may use: endSessions and the sockets need some too."""

_BACKENDS_BY_CLIENT = {"AsyncIOMotorClient": "motor", "AsyncMongoClient": "pymongo"}


class PoolBase:
    """State per class, and every call that needs no I/O."""

    _lifecycle: ClassVar[Lifecycle]
    _backends: ClassVar[tuple[str, ...]]
    _opens_with: ClassVar[str]
    _pools: ClassVar[weakref.WeakSet[type[PoolBase]]]
    _named: ClassVar[dict[tuple[type[PoolBase], str], type[Any]]]
    _instance: ClassVar[Any] = None

    def __init_subclass__(cls, *, backend: str | None = None, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "_backends" in vars(cls):
            cls._pools = weakref.WeakSet()
            cls._named = {}
        chosen = backend or _backend_of_type_argument(cls)
        if chosen is None:
            inherited = getattr(cls, "_lifecycle", None)
            chosen = inherited.backend if inherited is not None else cls._backends[0]
        cls._lifecycle = Lifecycle(cls.__name__, chosen, cls._backends)
        cls._instance = None
        cls._pools.add(cls)
        processes.register(cls._lifecycle)

    @classmethod
    def all_pools(cls) -> list[type[Self]]:
        """Every pool class of this twin that exists, open or not, in no order; memory only, any thread."""
        return processes.copy_of(cast("weakref.WeakSet[type[Self]]", cls._pools))

    def __new__(cls) -> Self:
        """The one instance of this pool; its ``repr`` is one line of state."""
        if vars(cls).get("_instance") is None:
            cls._instance = super().__new__(cls)
        instance: Self = cls._instance
        return instance

    def __repr__(self) -> str:
        """One line of state, without secrets."""
        handle = self._lifecycle.handle()
        if handle is None:
            return f"<{self._lifecycle.name} not initialized>"
        totals = handle.snapshot().totals
        return (
            f"<{self._lifecycle.name} open on {handle.settings.masked_uri} with {handle.backend}: "
            f"{totals.used} used, {totals.idle} idle, {totals.waiting} waiting, "
            f"at most {handle.settings.value('maxPoolSize') or 'unlimited'} per server>"
        )

    @classmethod
    def named(cls, name: str) -> type[Self]:
        """A second pool beside this one, made on first use: the same name gives the same class.

        Args:
            name: Any text; it is the pool's name in logs and errors.

        Returns:
            A subclass with state of its own and this class's backend.
        """
        key = (cls, name)
        known = cls._named.get(key)
        if known is None:
            known = cls._named.setdefault(key, type(name, (cls,), {"__module__": cls.__module__}))
        return known

    @classmethod
    def configure(
        cls,
        connection: str | PoolConfig | Callable[[], Any] | None = None,
        *,
        backend: str | None = None,
        preset: str | None = None,
        **options: Any,
    ) -> None:
        """Remember a configuration for the first ``initialize()`` without arguments; nothing is opened.

        For import time, preloaded workers and command lines, where the event loop or the process that will
        use the pool does not exist yet. The configuration is checked now.

        Args:
            connection: A connection string, a ``PoolConfig``, a callable that returns either, or None for
                ``MONGODB_URI``.
            backend: As for ``initialize``.
            preset: As for ``initialize``.
            **options: As for ``initialize``.

        Raises:
            PoolConfigurationError: An option, a value or the connection string cannot be used.
        """
        request = Request(connection, backend, preset, options)
        # Both may hold a password, which a traceback with local variables would show.
        del connection, options
        cls._lifecycle.configure(request)

    @classmethod
    def explain(cls) -> tuple[OptionInForce, ...]:
        """Each option in force, its value (secrets masked) and where it came from; empty when not open."""
        handle = cls._lifecycle.handle()
        return () if handle is None else handle.settings.explain()

    @classmethod
    def get_collection(
        cls,
        name: str,
        *,
        database: str | None = None,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Any:
        """A collection of the open client.

        Args:
            name: The collection's name.
            database: The database's name; by default the one in the connection string.
            codec_options: As for the driver's ``get_collection``; None inherits the database's.
            read_preference: Likewise.
            write_concern: Likewise.
            read_concern: Likewise.

        Raises:
            PoolNotInitializedError: The pool is not open.
            PoolClosingError: The pool is closing.
            PoolConfigurationError: No database was named anywhere.
        """
        return cls._database(database).get_collection(
            name,
            codec_options=codec_options,
            read_preference=read_preference,
            write_concern=write_concern,
            read_concern=read_concern,
        )

    @classmethod
    def snapshot(cls) -> PoolSnapshot:
        """What the pool is doing now, from memory alone: no server is asked and nothing is waited for.

        Any thread may call it, at any time, and it never raises.

        Returns:
            Counts, durations and the laws they keep; see ``PoolSnapshot``. Of a pool that is not open they
            are zero, except those of its retries, and its ``status`` says so.
        """
        lifecycle = cls._lifecycle
        retries = state_of(lifecycle).stats()
        handle = lifecycle.handle()
        if handle is not None:
            return handle.snapshot("open", lifecycle.replacements, retries)
        if closing := lifecycle.closing:
            return closing[-1].snapshot("closing", lifecycle.replacements, retries)
        return PoolSnapshot(pool=lifecycle.name, backend=lifecycle.backend, retries=retries)

    @classmethod
    def holders(cls) -> list[Holder]:
        """Who holds a connection of this pool now, the one that has held longest first; memory only, never raises.

        With ``slow_checkout_ms`` each is named by the task that asked for it and its last command, else on Motor
        by the worker thread alone.
        """
        handle = cls._lifecycle.handle()
        handles = [*([handle] if handle is not None else []), *cls._lifecycle.closing, *cls._lifecycle.retired]
        found = [holder for each in handles for holder in each.observers.holders()]
        return sorted(found, key=lambda holder: holder.seconds, reverse=True)

    @classmethod
    def _database(cls, name: str | None, **options: Any) -> Any:
        client = cls._lifecycle.client_for(running_loop())
        if client is None:
            if cls._lifecycle.closing:
                raise PoolClosingError.of(cls._lifecycle.name)
            raise PoolNotInitializedError.of(cls._lifecycle.name, cls._opens_with.format(cls._lifecycle.name))
        handle = cls._lifecycle.handle()
        name = name or (handle.settings.database if handle is not None else None)
        if name is None:
            raise PoolConfigurationError(
                "no database was named: give get_database a name, or put one into the connection string "
                "(mongodb://host:27017/name)"
            )
        return client.get_database(name, **options)

    @classmethod
    def _stats(cls, handle: ClientHandle, findings: Findings) -> dict[str, Any]:
        """The statistics, unless the pool was closed or replaced while its server was asked."""
        now = cls._lifecycle.handle()
        if now is None:
            return dict(NOT_INITIALIZED)
        return pool_stats(now, cls.snapshot(), findings if now is handle else Findings())

    @classmethod
    def _finish_blocking(cls, handles: list[ClientHandle], drain: float, timeout: float) -> None:
        deadline = time.monotonic() + timeout + close_grace(timeout)
        closings = cls._begin_finish(handles, drain, timeout)
        while (pending := cls._pending(handles)) and (left := deadline - time.monotonic()) > 0:
            wait(pending, min(left, CLOSE_LOOK))
        cls._tell_unfinished(closings, timeout)

    @classmethod
    def _pending(cls, handles: list[ClientHandle]) -> list[Future[CloseReport]]:
        """The closings that are not done; asked for again, one whose event loop has ended is ended at once."""
        return [closing for handle in handles if not (closing := handle.finish(0, 0)).done()]

    @classmethod
    def _begin_finish(cls, handles: list[ClientHandle], drain: float, timeout: float) -> list[Future[CloseReport]]:
        drain = min(drain, timeout * _DRAIN_SHARE)
        return [handle.finish(drain, timeout) for handle in handles]

    @classmethod
    def _check_bounds(cls, drain: Any, timeout: Any) -> None:
        for name, value in (("drain", drain), ("timeout", timeout)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise PoolConfigurationError.bad_value(name, describe(value), "argument", "seconds, 0 or more")

    @classmethod
    def _tell_unfinished(cls, closings: list[Future[CloseReport]], timeout: float) -> None:
        if not all(closing.done() for closing in closings):
            logger.warning("%s is still closing after %.1f s", cls._lifecycle.name, timeout)

    @classmethod
    def _newest_first(cls) -> list[type[Any]]:
        """The pools of this twin that are open, opening or closing, the newest first."""
        # An attempt whose event loop has ended is none, and its client has to be closed all the same.
        pools = [pool for pool in cls.all_pools() if pool._lifecycle.handles() or not pool._lifecycle.is_idle()]
        return sorted(pools, key=lambda pool: pool._lifecycle.opened_order, reverse=True)

    # What becomes of handles; the twins call these at the moments that only they know.

    @classmethod
    def _opened(cls, handle: ClientHandle, replaced: ClientHandle | None) -> None:
        """Tell of a published client, and let the one it replaced go in the background."""
        name, settings = cls._lifecycle.name, handle.settings
        processes.keep_open(cls._lifecycle)
        for sentence in settings.warnings:
            logger.warning("%s: %s", name, sentence)
        if settings.pool_options.max_waiting is not None and handle.backend != "motor":
            logger.warning(
                "%s: max_waiting bounds the queue in front of Motor's workers, which this backend does not have; "
                "the driver's own queue knows no such limit: waitQueueTimeoutMS bounds the wait there",
                name,
            )
        if replaced is None:
            size = settings.value("maxPoolSize") or "unlimited"
            logger.info("%s opened %s with %s, maxPoolSize %s", name, settings.masked_uri, handle.backend, size)
            return
        differing = list(handle.settings.differing(replaced.settings))
        if handle.backend != replaced.backend:
            differing.append("backend")
        what = f"these differ: {', '.join(differing)}" if differing else "nothing differs"
        logger.info("%s replaced its client; %s", name, what)
        if differing and _BY_IDENTITY.issuperset(differing):
            logger.warning(
                "%s: only %s differ, and these compare by identity: make them once, not anew in every call, "
                "or every call replaces the client",
                name,
                ", ".join(differing),
            )
        options = replaced.settings.pool_options
        try:
            replaced.retire(options.retire_after, options.retire_limit)
        except RuntimeError as error:
            logger.warning("%s cannot watch its replaced client, which stays until close(): %s", name, error)

    @classmethod
    def _opened_without_server(cls, handle: ClientHandle, error: Exception) -> None:
        logger.warning(
            "%s is opened although no server can be used, and becomes ready when one can: %s",
            cls._lifecycle.name,
            handle.settings.redactor.scrub(str(error)),
        )

    @classmethod
    def _finish_dead(cls, handle: ClientHandle) -> None:
        """Finish off a client that was found closed, or whose event loop is gone."""
        cause = "its client was closed by somebody else" if handle.is_closed() else "its event loop has ended"
        logger.info("%s is opened anew: %s", cls._lifecycle.name, cause)
        handle.finish(drain=0, timeout=1)

    @classmethod
    def _closed(cls, handle: ClientHandle, finished: Future[CloseReport]) -> None:
        """Tell of a client that was closed."""
        name = cls._lifecycle.name
        if handle not in (*cls._lifecycle.closing, *cls._lifecycle.retired):
            # It was never this pool's: its start failed or was cancelled, which is told elsewhere.
            return
        if cls._lifecycle.forget(handle):
            processes.let_go(cls._lifecycle)
        if (error := finished.exception()) is not None:
            told = handle.settings.redactor.scrub(str(error))
            logger.warning("%s: closing its client failed: %s", name, told)
            return
        report = finished.result()
        if report.abandoned:
            logger.warning(
                "%s closed after %.1f s; %d operation(s) were still busy",
                name,
                report.seconds,
                report.abandoned,
            )
        else:
            logger.info("%s closed in %.1f s", name, report.seconds)


def _backend_of_type_argument(pool: type[Any]) -> str | None:
    """``class OrdersPool(AsyncMongoDBConnectionPool[AsyncMongoClient[dict]])`` says its backend by its type."""
    for base in vars(pool).get("__orig_bases__", ()):
        for argument in get_args(base):
            name = getattr(get_origin(argument) or argument, "__name__", "")
            if name in _BACKENDS_BY_CLIENT:
                return _BACKENDS_BY_CLIENT[name]
    return None
