"""One client of ours and what the pool knows of it: the seam between the pools and the drivers.

A handle is made by ``create`` of its backend module, started once, and finished once. What ends a client runs
off to the side (a daemon thread, or a task of the client's own loop) and reports through a future that any
thread or loop can wait for, so that cancelling a waiter never leaves a client half closed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pymongo.driver_info import DriverInfo
from pymongo.errors import OperationFailure, PyMongoError

from async_mongo_pool._version import __version__
from async_mongo_pool.addresses import address_text
from async_mongo_pool.config.guard import forget_locals
from async_mongo_pool.config.uri import split
from async_mongo_pool.errors import PoolStartTimeoutError
from async_mongo_pool.events import ConnectionEvents
from async_mongo_pool.observers import Observers
from async_mongo_pool.report import LOOK_SHARE, STATS_BOUND, Findings
from async_mongo_pool.retry_stats import NO_RETRIES, RetryStats
from async_mongo_pool.stats import PoolSnapshot
from async_mongo_pool.totals import is_full, total

from . import driver_state

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from async_mongo_pool.config import ClientSettings
    from async_mongo_pool.names import NameLookup
    from async_mongo_pool.stats import ExecutorStats, ServerStats

__all__ = [
    "FAREWELL",
    "GRACE",
    "OUR_DRIVER",
    "POLL_INTERVAL",
    "AsyncClientHandle",
    "ClientHandle",
    "CloseReport",
]

logger = logging.getLogger("async_mongo_pool")

_within: ContextVar[tuple[object, ...]] = ContextVar("async_mongo_pool_within", default=())
"""The marks of the functions of ``run`` that the caller is in, as far as its context goes."""

OUR_DRIVER = DriverInfo("async_mongo_pool", __version__)

GRACE = 0.25
"""Seconds that a driver call may overrun its own deadline before we stop waiting for it."""

FAREWELL = 2.0
"""Seconds that endSessions may take at most: a courtesy to the server, which ends old sessions by itself."""

_NOBODY_HEARS = 0.05
"""The same when no server is known that could be told."""

POLL_INTERVAL = 0.02
"""Seconds between two looks at a condition that no event announces."""


@dataclass(frozen=True, slots=True)
class CloseReport:
    """How the closing of one client went.

    Attributes:
        drained: No operation was in progress when the client was closed.
        abandoned: The operations that were, and were given up.
        seconds: How long it took.
    """

    drained: bool
    abandoned: int
    seconds: float


class ClientHandle:
    """What every backend's handle shares; no I/O."""

    backend: str = ""
    """As ``initialize`` names it."""
    loop: AbstractEventLoop | None = None
    """The event loop that the client is bound to; None for clients that serve every loop and thread."""
    names: NameLookup | None = None
    """What a start has to wait for before the driver may begin."""

    def __init__(self, pool: str, settings: ClientSettings) -> None:
        self.pool = pool
        self.settings = settings
        self.events = self.make_events(settings.value("maxPoolSize"), settings.value("minPoolSize") or 0)
        self.observers = Observers.for_settings(pool, settings, self.events, self.backend, self.refresh)
        self.opened_at = time.monotonic()
        self.server_version: str | None = None
        self._version_refused = False
        # Re-entrant, because a signal handler may close the pool while this thread does.
        self._finish_lock = threading.RLock()
        self._finished: Future[CloseReport] | None = None
        self.when_finished: Callable[[ClientHandle, Future[CloseReport]], None] | None = None
        self._hurry = threading.Event()
        self._at_work: set[object] = set()
        self.health: dict[Any, Any] = {}
        """What ``readiness`` has found out so far, by what was asked."""

    client: Any
    """The driver's client, as handed out."""

    @property
    def refresh(self) -> Callable[[Callable[[], None]], None] | None:
        """Mends the counts where the driver leaves events out, then calls what it is given; None elsewhere."""
        return None

    @property
    def driver_client(self) -> Any:
        """The PyMongo client underneath: Motor's delegate, or the client itself."""
        return self.client

    def make_events(self, max_size: int | None, min_size: int) -> ConnectionEvents:
        """The listener that counts for this backend."""
        return ConnectionEvents(max_size, min_size)

    def listeners(self) -> list[Any]:
        """Ours first, then the user's own."""
        return [self.events, *self.observers.listeners(), *self.settings.event_listeners]

    def is_closed(self) -> bool:
        """Whether the client was closed, by us or by anybody who holds it."""
        return driver_state.is_closed(self.driver_client)

    def in_use(self) -> int:
        """The connections that are checked out, by the driver's own count where it tells."""
        counts = driver_state.checked_out(self.driver_client)
        return self.events.used() if counts is None else sum(counts)

    def in_progress(self) -> int:
        """The operations that run or wait in this client; a function of ``run`` counts between its calls too."""
        return max(self.in_use(), len(self._at_work))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count a function that works with the client as in progress until it is over."""
        mark = object()
        self._at_work.add(mark)
        before = _within.set((*_within.get(), mark))
        try:
            yield
        finally:
            self._at_work.discard(mark)
            # A coroutine that was left on a closed loop ends where the garbage collector runs.
            with suppress(ValueError):
                _within.reset(before)

    def is_worked_with(self) -> bool:
        """Whether the caller belongs to such a function that is not over."""
        return not self._at_work.isdisjoint(_within.get())

    def saturated(self) -> bool:
        """Whether some server has every connection in use."""
        return self.snapshot().saturated

    def snapshot(
        self,
        status: Literal["open", "closing", "not_initialized"] = "open",
        replacements: int = 0,
        retries: RetryStats = NO_RETRIES,
    ) -> PoolSnapshot:
        """What the client does now, from memory alone; any thread may ask.

        Args:
            status: What the pool is doing with this client.
            replacements: How often the pool has replaced one.
            retries: What retries the pool has made.
        """
        servers, broken_laws, queued = self.events.stats()
        if any(_looks_unused(each) for each in servers):
            servers = [each for each in servers if not (_looks_unused(each) and self._is_arbiter(each.address))]
        if heartbeats := self.observers.heartbeats():
            servers = [replace(each, heartbeat=heartbeats.get(each.address, each.heartbeat)) for each in servers]
        executor = self.executor_stats()
        return PoolSnapshot(
            pool=self.pool,
            backend=self.backend,
            status=status,
            seconds=time.monotonic() - self.opened_at,
            opened_at=self.opened_at,
            replacements=replacements,
            saturated=is_full(servers),
            servers={server.address: server for server in servers},
            totals=total(servers, executor.queued if executor is not None else 0, queued),
            executor=executor,
            commands=self.observers.commands(),
            retries=retries,
            drift=len(broken_laws),
            broken_laws=tuple(broken_laws),
        )

    def _is_arbiter(self, address: str) -> bool:
        # The driver has a pool for it, and never a connection in that: it would count as capacity for ever.
        description = getattr(self.driver_client, "topology_description", None)
        known = description.server_descriptions().items() if description is not None else ()
        return any(
            address_text(where) == address and each.server_type_name == "RSArbiter" for where, each in known
        )

    def executor_stats(self) -> ExecutorStats | None:
        """The workers in front of the connections; None where there are none."""
        return None

    def busy_for(self) -> float | None:
        """Whether work is in progress, and how long to wait before the next look.

        Returns:
            Seconds, more of them for a transaction between two operations, which only the garbage collector
            knows of; None when nothing is in progress.
        """
        if self.in_progress():
            return POLL_INTERVAL
        return POLL_INTERVAL * 10 if self._looks(driver_state.has_open_transaction) else None

    def at_rest(self) -> bool:
        """Whether nobody seems to use this client any more (costs milliseconds: for retired clients)."""
        return not self.in_progress() and not self._looks(driver_state.has_unfinished_handle)

    def _looks(self, question: Callable[[Any], bool]) -> bool:
        """Ask the garbage collector; objects that are half made or half gone may make it fail."""
        try:
            return question(self.driver_client)
        except Exception as error:
            # A frame that looks through everything holds anything.
            forget_locals(error)
            logger.debug("%s: looking for open sessions and cursors failed", self.pool, exc_info=True)
            return False

    def warmed_up(self) -> bool:
        """Whether minPoolSize connections are open on the server that has most."""
        return self.events.ready() >= (self.settings.value("minPoolSize") or 0)

    def judged_by_heartbeats(self) -> bool:
        """Whether a ping would only wait for a connection, while the heartbeats tell of a server; no I/O."""
        return self.saturated() and bool(self.data_bearing_servers())

    def data_bearing_servers(self) -> int:
        """How many servers can be read, by the last heartbeats; no I/O."""
        description = getattr(self.driver_client, "topology_description", None)
        return len(description.readable_servers) if description is not None else 0

    def farewell(self, left: float) -> float:
        """Seconds for telling a server that the sessions have ended.

        Args:
            left: What the closing has left for it.
        """
        return min(left, FAREWELL if self.data_bearing_servers() else _NOBODY_HEARS)

    def start_timed_out(self, seconds: float) -> PoolStartTimeoutError:
        """The error for a start that took too long, with what the heartbeats met meanwhile."""
        if self.names is not None and not self.names.enough.done():
            return PoolStartTimeoutError.after(self.pool, seconds, self.names.stage)
        if driver_state.waits_for_srv(self.driver_client):
            stage = f"resolving the SRV record of {split(self.settings.uri).hosts[0]} (DNS)"
            return PoolStartTimeoutError.after(self.pool, seconds, stage)
        description = getattr(self.driver_client, "topology_description", None)
        servers = description.server_descriptions().values() if description is not None else ()
        met = "; ".join(str(server.error) for server in servers if server.error)
        stage = "waiting for the driver to connect" + (f" ({met})" if met else "")
        return PoolStartTimeoutError.after(self.pool, seconds, stage)

    def asks_version(self) -> bool:
        """Whether the server's version is still worth asking for."""
        return self.server_version is None and not self._version_refused

    @contextmanager
    def version_errors(self) -> Iterator[None]:
        """Not knowing the version is no fault of the pool; a server that refuses to tell is not asked again."""
        try:
            yield
        except OperationFailure:
            # Such as under ServerApi("1", strict=True), which has no buildInfo.
            self._version_refused = True
        except PyMongoError as error:
            told = self.settings.redactor.scrub(str(error))
            logger.debug("%s: the server's version is not known: %s", self.pool, told)

    def finish(self, drain: float, timeout: float) -> Future[CloseReport]:
        """Begin to close the client; a second call gets the first one's future.

        Args:
            drain: Seconds to wait for work in progress.
            timeout: Seconds for everything, the drain included.
        """
        with self._finish_lock:
            first = self._finished is None
            if self._finished is None:
                # A function that closes its own pool would be waited for by itself.
                self._at_work.difference_update(_within.get())
                self._hurry.set()
                self._finished = self._begin_finish(drain, timeout)
            finished = self._finished
        if first:
            finished.add_done_callback(self._tell)
        return finished

    def _tell(self, finished: Future[CloseReport]) -> None:
        self.observers.stop()
        if self.when_finished is not None:
            self.when_finished(self, finished)

    def retire(self, after: float, limit: float) -> None:
        """Close in the background once nobody uses the client.

        Args:
            after: Seconds that it lives in any case.
            limit: Seconds after which it is closed in any case.
        """
        raise NotImplementedError

    def _begin_finish(self, drain: float, timeout: float) -> Future[CloseReport]:
        raise NotImplementedError


def _looks_unused(server: ServerStats) -> bool:
    return server.state == "paused" and not server.connections_created


class AsyncClientHandle(ClientHandle):
    """What the asynchronous pool asks of a backend's handle, beside the rest."""

    async def start(self, timeout: float, *, warm_up: bool) -> None:
        """Connect, ping, and warm up if asked, within ``timeout`` seconds."""
        raise NotImplementedError

    async def look(self, timeout: float, *, server: bool = False) -> dict[str, Any] | None:
        """Ping, and ask for the version where it is not known, within ``timeout`` seconds.

        Args:
            timeout: Seconds for everything.
            server: Also ask the server for its own count of connections, and return it.
        """
        raise NotImplementedError

    async def examine(self, *, server: bool) -> Findings:
        """Look at the server, within the bound of ``get_pool_stats``; never raises."""
        try:
            if self.judged_by_heartbeats():
                return Findings.from_heartbeats(server=server)
            async with asyncio.timeout(STATS_BOUND):
                return Findings(None, await self.look(STATS_BOUND * LOOK_SHARE, server=server))
        except Exception as error:
            return Findings.of_failure(error, self, server=server)
