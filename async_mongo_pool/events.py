"""The CMAP listener that every client of ours is built with: the driver's events in, counters out.

One listener belongs to one client, because no event names its client. Handlers run in driver code, some with the
driver's pool lock held (``pool_ready``, ``pool_cleared``): they touch a few integers, call nothing back, never
wait and never raise.
"""

from __future__ import annotations

import threading
import weakref
from asyncio import current_task
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from pymongo.monitoring import ConnectionPoolListener

from .addresses import address_text
from .counters import ServerCounters, Waiters
from .distribution import Recorder
from .forks import StartsAfresh

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pymongo.monitoring import (
        ConnectionCheckedInEvent,
        ConnectionCheckedOutEvent,
        ConnectionCheckOutFailedEvent,
        ConnectionCheckOutStartedEvent,
        ConnectionClosedEvent,
        ConnectionCreatedEvent,
        ConnectionReadyEvent,
        PoolClearedEvent,
        PoolClosedEvent,
        PoolCreatedEvent,
        PoolReadyEvent,
    )

    from .addresses import Address
    from .counters import DriverPool
    from .distribution import Distribution
    from .stats import ServerStats

__all__ = ["ConnectionEvents", "Counted", "TaskConnectionEvents"]

_REASONS = {"poolClosed": "pool_closed", "connectionError": "connection_error"}
"""CMAP's names where snake_case differs."""


class _Servers(dict["Address", ServerCounters]):
    """Makes a server's counters when it is first heard of, without a test in every handler."""

    def __init__(self, lock: threading.RLock, waiters: Waiters) -> None:
        super().__init__()
        self._new = lock, waiters

    def __missing__(self, address: Address) -> ServerCounters:
        # With the lock, because whoever holds it may be looking through all servers.
        with self._new[0]:
            return self.setdefault(address, ServerCounters(*self._new))


class Counted(NamedTuple):
    """What was counted, at one moment.

    Attributes:
        servers: Each server's numbers.
        broken_laws: The laws of counting that they break, in words.
        queued: What to add to the waits for connections, to have those for a thread in them too.
    """

    servers: list[ServerStats]
    broken_laws: list[str]
    queued: Distribution


_NOBODY: Counter[int] = Counter()


class ConnectionEvents(ConnectionPoolListener, StartsAfresh):
    """Counts what the connections of one client do, per server; for clients that work in threads.

    Args:
        max_size: maxPoolSize; None or 0 when unlimited.
        min_size: minPoolSize.
    """

    def __init__(self, max_size: int | None = None, min_size: int = 0) -> None:
        self._max_size = max_size or None
        self._min_size = min_size
        self.queue_waits: dict[int, float] = {}
        """Seconds that the operation running on a thread had waited for that thread, by thread id (Motor)."""
        StartsAfresh.__init__(self)
        self._after_fork_in_child()

    def _after_fork_in_child(self) -> None:
        """Count from zero, with a new lock: somebody may go on using an inherited client."""
        # Re-entrant: the garbage collector or a signal handler may run driver code while this thread counts.
        self._lock = threading.RLock()
        self._waiters: Waiters = {}
        self._servers = _Servers(self._lock, self._waiters)
        self._queued = Recorder()
        self.queue_waits.clear()

    _key: Callable[[], Any] = staticmethod(threading.get_ident)
    """Who acts now."""

    # Read by anybody, from any thread.

    def used(self) -> int:
        """The connections that are checked out now, over all servers."""
        with self._lock:
            return sum(min(len(server.used), len(server.open)) for server in self._servers.values())

    def ready(self) -> int:
        """The open connections, used and idle, of the server that has most."""
        with self._lock:
            return max((len(server.open) for server in self._servers.values()), default=0)

    def holdings(self) -> list[tuple[str, int, float, Any]]:
        """Who holds what: address, connection id, since when (``time.monotonic``), and the key of the holder."""
        with self._lock:
            return [
                (address_text(address), connection_id, since, key)
                for address, server in self._servers.items()
                for connection_id, (since, key) in server.used.items()
            ]

    def count_slow(self, address: str) -> None:
        """Count a connection that was held for too long.

        Args:
            address: As ``holdings`` tells it.
        """
        with self._lock:
            for known, server in self._servers.items():
                if address_text(known) == address:
                    server.slow += 1

    def stats(self) -> Counted:
        """Every server's numbers at one moment."""
        with self._lock:
            self.forget_the_gone()
            now = monotonic()
            # In one step, because whoever begins to wait does so without the lock.
            waiting = Counter(map(id, list(self._waiters.values()))) if self._waiters else _NOBODY
            stats, broken = [], []
            for address, server in self._servers.items():
                text = address_text(address)
                numbers = server.stats(text, now, self._max_size, self._min_size, waiting[id(server)])
                stats.append(numbers)
                broken += [f"{text}: {law}" for law in server.broken_laws(numbers)]
            return Counted(stats, broken, self._queued.distribution())

    def forget_the_gone(self) -> None:
        """Nothing to do for threads: whoever waits in one gets a connection or an error."""

    # The events that come with every operation.

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Somebody asks for a connection."""
        self._servers[event.address].check_out_started(self._key())

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        """Somebody got one."""
        key = self._key()
        waited = event.duration or 0.0
        server = self._servers[event.address]
        if self.queue_waits and (queued := self.queue_waits.pop(key, 0.0)):
            with self._lock:
                server.checked_out(event.connection_id, waited, monotonic(), key)
                # Its wait for the connection is counted; move it to where both waits together belong.
                self._queued.move(waited, waited + queued)
        else:
            server.checked_out(event.connection_id, waited, monotonic(), key)

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        """It was given back."""
        self._servers[event.address].checked_in(event.connection_id, monotonic())

    # The rarer ones.

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        """Somebody got none."""
        reason = _REASONS.get(event.reason, event.reason)
        self._servers[event.address].check_out_failed(reason, self._key())

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        """A connection is being set up."""
        self._servers[event.address].connection_created(event.connection_id, monotonic())

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """It is open; or it was authenticated again."""
        self._servers[event.address].connection_ready(event.connection_id, monotonic())

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        """It is gone."""
        reason = _REASONS.get(event.reason, event.reason)
        self._servers[event.address].connection_closed(event.connection_id, reason)

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """A server was met; no connection may be made before its pool is ready."""
        self._servers[event.address].pool_created()

    def pool_ready(self, event: PoolReadyEvent) -> None:
        """The server answered."""
        self._servers[event.address].pool_ready()

    def pool_cleared(self, event: PoolClearedEvent) -> None:
        """Its connections are of no use any more."""
        self._servers[event.address].pool_cleared(pauses=event.service_id is None)

    def pool_closed(self, event: PoolClosedEvent) -> None:
        """The client was closed, or the server left the deployment."""
        self._servers[event.address].pool_closed()


class TaskConnectionEvents(ConnectionEvents):
    """For AsyncMongoClient, where tasks wait, and may be cancelled without an event."""

    _PRUNE_FROM = 64

    def _after_fork_in_child(self) -> None:
        """The same, and nobody waits."""
        super()._after_fork_in_child()
        self._prune_at = self._PRUNE_FROM

    @staticmethod
    def _key() -> Any:
        try:
            task = current_task()
        except RuntimeError:
            task = None
        # Weak, so that counting keeps no task, and nothing that its exception refers to, alive.
        return threading.get_ident() if task is None else weakref.ref(task)

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Somebody asks for a connection."""
        if len(self._waiters) >= self._prune_at:
            # Without this, cancelled tasks would pile up for as long as nobody takes a snapshot.
            with self._lock:
                self.forget_the_gone()
                self._prune_at = max(self._PRUNE_FROM, 2 * len(self._waiters))
        self._servers[event.address].check_out_started(self._key())

    def forget_the_gone(self) -> None:
        """Count the waits of tasks that have ended as abandoned; the caller holds the lock."""
        for key in list(filter(is_gone, list(self._waiters))):
            self._waiters.pop(key).given_up()

    def agrees(self, address: Address, *counts: int) -> bool:
        """Whether a server's counts are those of the driver's pool; see ``ServerCounters.agrees``."""
        with self._lock:
            server = self._servers.get(address)
            return server is not None and server.agrees(*counts)

    def reconcile(self, pools: Mapping[Address, DriverPool]) -> None:
        """Mend what the driver did not publish; to be called in the client's own event loop.

        Args:
            pools: What the driver's pools hold now.
        """
        with self._lock:
            for address, server in self._servers.items():
                if address in pools:
                    server.reconcile(pools[address], is_gone)
                elif server.state == "closed":
                    server.forget_uses(is_gone)


def is_gone(key: Any) -> bool:
    """Whether the task that a key stands for has ended; a thread's key never counts as ended."""
    if not isinstance(key, weakref.ref):
        return False
    task = key()
    return task is None or task.done()
