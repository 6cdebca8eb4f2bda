"""The snapshot: what a pool was doing at one moment. Typed, frozen, every key always there.

Counts named in the past tense (``checkouts``, ``connections_created``) grow while a client is open and start at
zero with each new client (what is inferred, because the driver did not tell, may be corrected downwards:
``checkouts_abandoned`` and closings that are "unreported"); the others are the state of the moment. Durations are
in seconds. Terms are those of the connection monitoring and pooling specification (CMAP) of the MongoDB drivers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from .distribution import Distribution
from .plain import Plain, difference
from .retry_stats import NO_RETRIES, RetryStats

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CHECKOUT_FAILURES",
    "CLOSE_REASONS",
    "REFUSALS",
    "CommandSeries",
    "CommandStats",
    "ConnectionStats",
    "ExecutorStats",
    "Holder",
    "PoolSnapshot",
    "ServerStats",
    "TotalStats",
]

CHECKOUT_FAILURES = ("timeout", "connection_error", "pool_closed")
"""Why a checkout may fail: CMAP's reasons in snake_case."""

CLOSE_REASONS = ("idle", "stale", "error", "pool_closed", "unreported")
"""Why a connection was closed: CMAP's reasons, and one for closings that the driver published no event of."""

REFUSALS = ("timeout", "full", "closing")
"""Why the queue in front of Motor's workers refused an operation."""

_NOTHING = Distribution()


_COUNTED = (
    "checkouts_started",
    "checkouts",
    "checkouts_abandoned",
    "connections_created",
    "clears",
    "slow_checkouts",
    "events_missed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStats(Plain):
    """The connections of one server, or of all.

    Attributes:
        size: Connections that exist: used, idle and connecting.
        used: Connections that are checked out, each by one operation; between theirs, cursors hold none.
        idle: Open connections that wait for work.
        connecting: Connections being set up (TCP, TLS, hello, authentication).
        pending_requests: Operations that wait in the driver for a connection or for its set-up.
        oldest_use_seconds: How long the oldest of the used connections has been checked out; 0.0 with none.
        max_size: maxPoolSize; None when unlimited.
        min_size: minPoolSize.
        checkouts_started: Requests for a connection.
        checkouts: Requests that got one.
        checkouts_abandoned: Requests whose task was cancelled while it waited.
        checkout_failures: Requests that failed, by reason (``CHECKOUT_FAILURES``).
        connections_created: Connections that were begun.
        connections_closed: Connections that ended, by reason (``CLOSE_REASONS``).
        clears: How often the driver cleared the pool, after a network error or a change of primary.
        slow_checkouts: Connections held longer than ``slow_checkout_ms``; 0 when that is not set.
        events_missed: Events that the driver never published (a task was cancelled at a bad moment), found by
            comparing with the driver's own pool and made good.
        checkout_wait: How long successful checkouts waited, the set-up of a new connection included.
        connection_use: How long connections were checked out.
        connection_create: How long setting up a connection took, by our own clock (the driver's duration
            leaves DNS, TCP and TLS out).
        heartbeat: Round trips of heartbeats that were not awaited; empty unless ``heartbeat_stats`` is on. With
            the streaming protocol only the first one of each connection is not; ``serverMonitoringMode="poll"``
            measures each.
    """

    _derived = ("utilization", "failure_rate")

    size: int = 0
    used: int = 0
    idle: int = 0
    connecting: int = 0
    pending_requests: int = 0
    oldest_use_seconds: float = 0.0
    max_size: int | None = None
    min_size: int = 0
    checkouts_started: int = 0
    checkouts: int = 0
    checkouts_abandoned: int = 0
    checkout_failures: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(CHECKOUT_FAILURES, 0))
    connections_created: int = 0
    connections_closed: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(CLOSE_REASONS, 0))
    clears: int = 0
    slow_checkouts: int = 0
    events_missed: int = 0
    checkout_wait: Distribution = _NOTHING
    connection_use: Distribution = _NOTHING
    connection_create: Distribution = _NOTHING
    heartbeat: Distribution = _NOTHING

    @property
    def utilization(self) -> float:
        """The share of maxPoolSize that is used, 0.0 to 1.0; 0.0 when unlimited."""
        return self.used / self.max_size if self.max_size else 0.0

    @property
    def failure_rate(self) -> float:
        """The share of finished checkouts that failed, 0.0 to 1.0; abandoned ones count on neither side."""
        failed = sum(self.checkout_failures.values())
        return failed / (failed + self.checkouts) if failed else 0.0

    def since(self, previous: Self) -> Self:
        """The counts that were added after ``previous``, beside the state of now."""
        changed: dict[str, Any] = {name: getattr(self, name) - getattr(previous, name) for name in _COUNTED}
        for name in ("checkout_failures", "connections_closed"):
            changed[name] = difference(getattr(self, name), getattr(previous, name))
        for name in ("checkout_wait", "connection_use", "connection_create", "heartbeat"):
            changed[name] = getattr(self, name).since(getattr(previous, name))
        return replace(self, **changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats(ConnectionStats):
    """The connections of one server.

    Attributes:
        address: "host:port", "[v6]:port" or the path of a socket.
        state: "paused" while the server is not reachable, else "ready"; "closed" once its pool was closed.
    """

    address: str
    state: Literal["ready", "paused", "closed"] = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalStats(ConnectionStats):
    """All servers together; ``max_size`` is the sum over servers whose pool is not closed.

    Attributes:
        waiting: Operations that wait, in the driver and in front of Motor's workers.
        wait: How long operations that got a connection waited, in both queues together.
    """

    waiting: int = 0
    wait: Distribution = _NOTHING

    def since(self, previous: Self) -> Self:
        """The counts that were added after ``previous``, beside the state of now."""
        # Not super(): a class with slots is made anew by its decorator, which leaves super() pointing elsewhere.
        return replace(ConnectionStats.since(self, previous), wait=self.wait.since(previous.wait))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorStats(Plain):
    """The worker threads of a Motor pool and the queue in front of them.

    Attributes:
        workers: Threads that exist.
        max_workers: The most there may be now: maxPoolSize for each data-bearing server, at most ``max_threads``.
        busy: Threads that run an operation.
        streaming: Of those, the ones that wait on a change stream or a tailable cursor.
        queued: Operations that wait for a thread.
        abandoned: Operations whose waiter was cancelled while they were queued.
        refused: Operations that were refused, by reason (``REFUSALS``): waited too long, met ``max_waiting``
            others, or came to a closing pool.
        wait: How long operations that ran had been queued.
    """

    workers: int = 0
    max_workers: int = 0
    busy: int = 0
    streaming: int = 0
    queued: int = 0
    abandoned: int = 0
    refused: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(REFUSALS, 0))
    wait: Distribution = _NOTHING

    def since(self, previous: ExecutorStats) -> ExecutorStats:
        """The counts that were added after ``previous``, beside the state of now."""
        return replace(
            self,
            abandoned=self.abandoned - previous.abandoned,
            refused=difference(self.refused, previous.refused),
            wait=self.wait.since(previous.wait),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSeries(Plain):
    """One command on one server and database, with one outcome.

    Attributes:
        server: As ``ServerStats.address``.
        database: The database's name, or "other" beyond the first hundred.
        error: The error's code as text, or the exception's class; None for those that succeeded.
        duration: How long they took, as the driver measured it.
    """

    server: str
    database: str
    error: str | None
    duration: Distribution

    def since(self, previous: CommandSeries) -> CommandSeries:
        """What was added after ``previous``."""
        return replace(self, duration=self.duration.since(previous.duration))


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStats(Plain):
    """One command name, over all servers and databases.

    Attributes:
        count: How many ended, failed ones included.
        failures: How many failed.
        duration: How long all of them took.
        series: The same by server, database and outcome.
    """

    count: int = 0
    failures: int = 0
    duration: Distribution = _NOTHING
    series: tuple[CommandSeries, ...] = ()

    def since(self, previous: CommandStats) -> CommandStats:
        """What was added after ``previous``."""
        before = {(each.server, each.database, each.error): each for each in previous.series}
        return CommandStats(
            count=self.count - previous.count,
            failures=self.failures - previous.failures,
            duration=self.duration.since(previous.duration),
            series=tuple(
                each.since(old) if (old := before.get((each.server, each.database, each.error))) else each
                for each in self.series
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder(Plain):
    """Who holds one connection, now.

    Attributes:
        server: As ``ServerStats.address``.
        connection_id: The driver's number for the connection, unique per server and pool.
        name: The task that checked it out (AsyncMongoClient), or the thread (MongoClient); on Motor the worker
            thread, and with ``slow_checkout_ms`` the task that asked for the operation. Whether a task has ended
            meanwhile is said behind its name.
        seconds: For how long.
        command: The last command that began there; None unless ``slow_checkout_ms`` is set.
        stack: Where it was checked out; None unless ``slow_checkout_stack`` is set.
    """

    server: str
    connection_id: int
    name: str
    seconds: float
    command: str | None = None
    stack: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot(Plain):
    """A pool at one moment; ``Pool.snapshot()`` makes it from memory alone.

    Attributes:
        pool: The pool's name.
        backend: "motor" or "pymongo".
        status: "open", "closing" or "not_initialized"; all counts of a pool that is not open are zero, except
            those of ``retries``.
        seconds: How long the client has been open (of a difference: the time between the two snapshots).
        opened_at: When that was, by ``time.monotonic()``; tells one client from the next.
        replacements: How often a client of this pool was replaced by another one.
        saturated: Some server has every connection in use.
        servers: Each server that the client has met, by address.
        totals: All servers together.
        executor: Motor's workers and their queue; None on other backends, which have none.
        commands: Each command by its name; empty unless ``command_stats`` is on.
        retries: What ``run`` and ``retrying`` did; these counts survive closing and replacing.
        drift: How many of the laws of counting do not hold; 0 unless there is a fault in driver or pool.
        broken_laws: Which ones, and where, in words.
    """

    pool: str
    backend: str
    status: Literal["open", "closing", "not_initialized"] = "not_initialized"
    seconds: float = 0.0
    opened_at: float = 0.0
    replacements: int = 0
    saturated: bool = False
    servers: Mapping[str, ServerStats] = field(default_factory=dict)
    totals: TotalStats = field(default_factory=TotalStats)
    executor: ExecutorStats | None = None
    commands: Mapping[str, CommandStats] = field(default_factory=dict)
    retries: RetryStats = NO_RETRIES
    drift: int = 0
    broken_laws: tuple[str, ...] = ()

    def since(self, previous: PoolSnapshot) -> PoolSnapshot:
        """What happened after ``previous``: its counts and durations taken off, the state of now kept.

        A ``previous`` of another client (the pool was replaced, or closed and opened) counts as zero, but for
        ``retries`` and ``replacements``, which belong to the pool; ``seconds`` is then the client's age.

        Args:
            previous: An earlier snapshot of the same pool.
        """
        if previous.pool != self.pool:
            return self
        retries = self.retries.since(previous.retries)
        replacements = max(self.replacements - previous.replacements, 0)
        if previous.opened_at != self.opened_at:
            return replace(self, retries=retries, replacements=replacements)
        servers = {
            address: stats.since(previous.servers[address]) if address in previous.servers else stats
            for address, stats in self.servers.items()
        }
        commands = {
            name: stats.since(previous.commands[name]) if name in previous.commands else stats
            for name, stats in self.commands.items()
        }
        executor = self.executor
        if executor is not None and previous.executor is not None:
            executor = executor.since(previous.executor)
        return replace(
            self,
            seconds=self.seconds - previous.seconds,
            replacements=replacements,
            servers=servers,
            totals=self.totals.since(previous.totals),
            executor=executor,
            commands=commands,
            retries=retries,
        )
