"""The counting itself: events of one server's connections in, a ``ServerStats`` out. No driver, no clock, no I/O.

Events do not arrive in the order in which the driver's state changed. A connection is handed to the next thread
before its check-in is published; a pool that was closed still reports connections that were in use, under
numbers that its successor uses again. So every count here is commutative: whichever of two events comes first,
the result is the same. What is under way is kept by connection id, several times if need be.

Hot paths compute first and take the lock for a few call-free lines: a call inside a lock costs four times as
much under contention, because the interpreter may switch threads there.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, NamedTuple

from .by_connection import ById
from .distribution import BOUNDS, Recorder
from .stats import CHECKOUT_FAILURES, CLOSE_REASONS, ServerStats

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Literal

__all__ = ["DriverPool", "ServerCounters", "Waiters"]

_MOST_GUESSES = 1000


class DriverPool(NamedTuple):
    """What the driver's own pool holds at one moment.

    Attributes:
        idle: The ids of the connections that wait in it.
        placed: Checkouts that have a place, those included whose connection is still being set up.
        connecting: Connections being set up.
        reserved: Places that are taken: by checkouts, and by connections being opened to reach minPoolSize.
        asked: Checkouts in progress, those included that still wait for a place.
        entering: Tasks that wait for the pool's lock; some of them have said that they want a connection, and
            do not count as asking yet.
    """

    idle: frozenset[int]
    placed: int
    connecting: int
    reserved: int
    asked: int
    entering: int = 0


Waiters = dict[Any, "ServerCounters"]
"""Who waits for a connection, and of which server: one entry per task or thread, which waits only once."""


class ServerCounters:
    """The counts of one server.

    Args:
        lock: Shared by all servers of a client, because they share the waiters.
        waiters: Likewise shared.
    """

    __slots__ = (
        "_guessed",
        "_lock",
        "_missing",
        "_waiters",
        "abandoned",
        "clears",
        "closed",
        "connecting",
        "create",
        "created",
        "failed",
        "lost_uses",
        "lost_waits",
        "missed_returns",
        "open",
        "slow",
        "state",
        "use",
        "used",
        "wait",
    )

    def __init__(self, lock: AbstractContextManager[Any], waiters: Waiters) -> None:
        self._lock = lock
        self._waiters = waiters
        self.state: Literal["ready", "paused", "closed"] = "paused"
        self.connecting: ById[float] = ById()
        self.open: ById[None] = ById()
        self.used: ById[tuple[float, Any]] = ById()
        self.abandoned = 0
        self.failed = dict.fromkeys(CHECKOUT_FAILURES, 0)
        self.created = 0
        self.closed = dict.fromkeys(CLOSE_REASONS, 0)
        self.clears = 0
        self.slow = 0
        self._guessed: set[int] = set()
        self._missing: set[int] = set()
        # Uses and waits that nobody ended, although the driver knows of fewer: which ones is not known.
        self.lost_uses = 0
        self.lost_waits = 0
        self.missed_returns = 0
        self.wait = Recorder()
        self.use = Recorder()
        self.create = Recorder()

    # One method for each event.

    def check_out_started(self, key: Any) -> None:
        """Count a request for a connection; an earlier one of the same task or thread was given up."""
        # Without the lock: nobody else acts for this task or thread, and one item is set in one step.
        if key in self._waiters:
            self._give_up(key)
        self._waiters[key] = self

    def _give_up(self, key: Any) -> None:
        with self._lock:
            self._waiters.pop(key).given_up()

    def given_up(self) -> None:
        """Count a waiter as abandoned that is not among the waiters any more; the caller holds the lock."""
        self.abandoned += 1
        # It may be one of those that a look at the driver found to be too many.
        self.lost_waits = max(self.lost_waits - 1, 0)

    def check_out_failed(self, reason: str, key: Any) -> None:
        """Count a request that failed."""
        with self._lock:
            if self._waiters.pop(key, None) is None:
                self._was_not_given_up()
            self.failed[reason] = self.failed.get(reason, 0) + 1

    def checked_out(self, connection_id: int, waited: float, now: float, key: Any) -> None:
        """Count a connection as used, by this task or thread, from ``now`` on."""
        bucket = bisect_left(BOUNDS, waited)
        waiters, used, wait = self._waiters, self.used.newest, self.wait
        with self._lock:
            if key in waiters:
                del waiters[key]
            else:
                self._was_not_given_up()
            if connection_id in used:
                self.used.add(connection_id, (now, key))
            else:
                used[connection_id] = (now, key)
            wait.buckets[bucket] += 1
            wait.seconds += waited
            if waited > wait.longest:
                wait.longest = waited

    def checked_in(self, connection_id: int, now: float) -> None:
        """Count a connection as returned."""
        used, use = self.used.newest, self.use
        held = used.get(connection_id)
        if held is not None:
            seconds = now - held[0]
            bucket = bisect_left(BOUNDS, seconds)
            with self._lock:
                if connection_id in used and used[connection_id] is held and not self.used.older:
                    del used[connection_id]
                    use.buckets[bucket] += 1
                    use.seconds += seconds
                    if seconds > use.longest:
                        use.longest = seconds
                    return
        with self._lock:
            oldest = self.used.take(connection_id)
            if oldest is not None:
                use.record(max(now - oldest[0], 0.0))

    def connection_created(self, connection_id: int, now: float) -> None:
        """Count a connection as being set up."""
        with self._lock:
            self.created += 1
            self.connecting.add(connection_id, now)

    def connection_ready(self, connection_id: int, now: float) -> None:
        """Count a connection as open; the driver also says so after each re-authentication."""
        with self._lock:
            began = self.connecting.take(connection_id)
            if began is not None:
                self.create.record(max(now - began, 0.0))
                self.open.add(connection_id, None)

    def connection_closed(self, connection_id: int, reason: str) -> None:
        """Count a connection as gone, whether it ever became ready or not."""
        with self._lock:
            # None is also the value of an open connection, so ask first.
            known = self.connecting.contains(connection_id) or self.open.contains(connection_id)
            if not known:
                self._correct_guess(connection_id, reason)
                return
            if self.connecting.take(connection_id) is None:
                self.open.take(connection_id)
            self.closed[reason] = self.closed.get(reason, 0) + 1

    def pool_created(self) -> None:
        """A pool for this server begins; the connections of an earlier one go on reporting."""
        self.state = "paused"
        self._guessed = set()

    def pool_ready(self) -> None:
        """The server can be reached."""
        self.state = "ready"

    def pool_cleared(self, *, pauses: bool) -> None:
        """Every connection is stale from now on; each says so itself when it is closed."""
        with self._lock:
            self.clears += 1
            # Behind a load balancer only one service's connections are stale, and no event ends the pause.
            if pauses and self.state == "ready":
                self.state = "paused"

    def pool_closed(self) -> None:
        """No new connections; those in use still report."""
        self.state = "closed"

    # Corrections, for a driver that publishes half of its events when a task is cancelled.

    def agrees(self, idle: int, placed: int, connecting: int, reserved: int, asked: int) -> bool:
        """Whether the counts are the driver's, so that nothing has to be looked at one by one; with the lock held.

        Args:
            idle: How many connections wait in the driver's pool.
            placed: As in ``DriverPool``, and so are the others.
            connecting: Likewise.
            reserved: Likewise.
            asked: Likewise.
        """
        used = len(self.used)
        at_work = placed == reserved == asked == used and connecting == len(self.connecting) == 0
        if not at_work or self._waiters or self._guessed or idle != len(self.open) - used:
            return False
        self.lost_uses = self.lost_waits = 0
        self._missing.clear()
        return True

    def reconcile(self, driver: DriverPool, is_gone: Callable[[Any], bool]) -> None:
        """Make the counts agree with the driver's own pool; a wrong guess is mended by the next call.

        Args:
            driver: Its state now; nothing may have happened between reading it and this call.
            is_gone: Tells whether the task of a key has ended.
        """
        with self._lock:
            self._find_never_connected(driver)
            self._find_returned(driver, is_gone)
            self._find_closed(driver)
            mine = sum(server is self for server in self._waiters.values())
            real = max(driver.asked - len(self.used) + self.lost_uses, 0) + driver.entering
            self.lost_waits = max(mine - real, 0)

    def _find_never_connected(self, driver: DriverPool) -> None:
        for connection_id in sorted(self.connecting.newest)[: max(len(self.connecting) - driver.connecting, 0)]:
            self.connecting.take(connection_id)
            self._guess_closed(connection_id)

    def _find_returned(self, driver: DriverPool, is_gone: Callable[[Any], bool]) -> None:
        # Asked this way round, because many are idle and few used.
        if not driver.idle.isdisjoint(self.used.newest):
            for connection_id in driver.idle & self.used.newest.keys():
                self._miss_return(connection_id)
        filling = max(driver.reserved - driver.placed, 0)
        most = driver.placed - max(len(self.connecting) - filling, 0)
        excess = max(len(self.used) - most, 0)
        for connection_id in [number for number, (_, key) in self.used.items() if is_gone(key)][:excess]:
            self._miss_return(connection_id)
            excess -= 1
        self.lost_uses = excess

    def forget_uses(self, is_gone: Callable[[Any], bool]) -> None:
        """Of a server that has left nothing can be compared: uses of tasks that have ended are over."""
        with self._lock:
            for connection_id in [number for number, (_, key) in self.used.items() if is_gone(key)]:
                self._miss_return(connection_id)
                if self.open.contains(connection_id):
                    self.open.take(connection_id)
                    self.closed["unreported"] += 1

    def _miss_return(self, connection_id: int) -> None:
        self.used.take(connection_id)
        self.missed_returns += 1

    def _find_closed(self, driver: DriverPool) -> None:
        # Only what was guessed here: the driver may close a connection before it is checked in.
        if self._guessed:
            wrongly = self._guessed & (driver.idle | self.used.newest.keys())
            for connection_id in wrongly - self.open.newest.keys():
                self.open.add(connection_id, None)
                self.closed["unreported"] -= 1
            self._guessed -= wrongly
        if not self.used.newest and self.open.newest.keys() == driver.idle:
            self._missing.clear()
            return
        missing = sorted(self.open.newest.keys() - driver.idle - self.used.newest.keys())
        # Taken from the idle ones or just made, but not yet announced as checked out.
        on_their_way = max(driver.reserved - len(self.used) + self.lost_uses - len(self.connecting), 0)
        lost = missing[: max(len(missing) - on_their_way, 0)]
        # While work goes on, one may also be about to be closed: it is lost if it is missing the next time too.
        before, self._missing = self._missing, set(missing)
        for connection_id in lost:
            if connection_id in before or not driver.reserved:
                self.open.take(connection_id)
                self._guess_closed(connection_id)

    def _correct_guess(self, connection_id: int, reason: str) -> None:
        if connection_id in self._guessed:
            self._guessed.remove(connection_id)
            self.closed["unreported"] -= 1
            self.closed[reason] = self.closed.get(reason, 0) + 1

    def _guess_closed(self, connection_id: int) -> None:
        self.closed["unreported"] += 1
        self._guessed.add(connection_id)
        if len(self._guessed) > _MOST_GUESSES:
            # Those that were right would stay for ever; a wrong one is soon found out.
            self._guessed = set(sorted(self._guessed)[_MOST_GUESSES // 2 :])

    def _was_not_given_up(self) -> None:
        # Its task was taken for gone while it waited.
        self.abandoned = max(self.abandoned - 1, 0)

    def broken_laws(self, shown: ServerStats) -> list[str]:
        """The laws of counting that do not hold; the caller holds the lock.

        That the size is the sum of its parts, and the requests that of theirs, is how these are made; what is
        counted in two ways is compared here.

        Args:
            shown: What ``stats`` made of the counts.
        """
        broken = []
        if shown.checkouts != sum(self.use.buckets) + len(self.used) + self.missed_returns:
            broken.append("checked out = returned + used")
        if shown.connections_created != sum(shown.connections_closed.values()) + shown.size:
            broken.append("created = closed + size")
        if min(shown.idle, shown.used, shown.checkouts_abandoned, shown.size) < 0:
            broken.append("nothing is negative")
        return broken

    def stats(self, address: str, now: float, max_size: int | None, min_size: int, waiting: int) -> ServerStats:
        """The counts as they are; the caller holds the lock.

        Args:
            address: For people and metrics.
            now: Of the same clock as the events.
            max_size: maxPoolSize; None when unlimited.
            min_size: minPoolSize.
            waiting: How many of the waiters are this server's.
        """
        lost, held = self.lost_uses, self.used.newest
        is_open = len(self.open) - lost
        # A check-in may be published after the next check-out of the same connection.
        used = min(len(self.used) - lost, is_open)
        lost_waits = min(self.lost_waits, waiting)
        connecting = len(self.connecting)
        checkouts = sum(self.wait.buckets)
        return ServerStats(
            address=address,
            state=self.state,
            size=is_open + connecting,
            used=used,
            idle=is_open - used,
            connecting=connecting,
            pending_requests=waiting - lost_waits,
            # A dictionary keeps the order of insertion: the first one is the oldest.
            oldest_use_seconds=max(now - next(iter(held.values()))[0], 0.0) if held else 0.0,
            max_size=max_size,
            min_size=min_size,
            checkouts_started=checkouts + sum(self.failed.values()) + self.abandoned + waiting,
            checkouts=checkouts,
            checkouts_abandoned=self.abandoned + lost_waits,
            checkout_failures=dict(self.failed),
            connections_created=self.created,
            connections_closed=self.closed | {"unreported": self.closed["unreported"] + lost},
            clears=self.clears,
            slow_checkouts=self.slow,
            events_missed=self.missed_returns + self.closed["unreported"] + 2 * lost,
            checkout_wait=self.wait.distribution(),
            connection_use=self.use.distribution(),
            connection_create=self.create.distribution(),
        )
