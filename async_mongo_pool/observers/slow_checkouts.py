"""Connections held for too long, and who holds them: only when ``slow_checkout_ms`` is set."""

from __future__ import annotations

import logging
import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from pymongo.monitoring import CommandListener, ConnectionPoolListener

from async_mongo_pool.forks import StartsAfresh

from .checkout import Checkout
from .origins import Origin, current_task, submitted_origin, tell_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.monitoring import (
        CommandFailedEvent,
        CommandStartedEvent,
        CommandSucceededEvent,
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

    from async_mongo_pool.addresses import Address

    from .log_thread import LogThread

    Refresh = Callable[[Callable[[], None]], None]

__all__ = ["Holdings", "SlowCheckouts"]

logger = logging.getLogger("async_mongo_pool")

_SHORTEST_PAUSE = 0.01


class Holdings(Protocol):
    """What is asked of the client's ``ConnectionEvents``."""

    def holdings(self) -> list[tuple[str, int, float, Any]]:
        """Address, connection id, since when and the holder's key of each checkout."""

    def count_slow(self, address: str) -> None:
        """Count a slow checkout of that server."""


class SlowCheckouts(ConnectionPoolListener, CommandListener, StartsAfresh):
    """Notes who checks out, and tells of those who hold a connection for too long.

    The watch finds them while they hold it. Those that fall between two looks are found when they return it, so
    that none is missed.

    Args:
        pool: The pool's name.
        limit: Seconds from which on a checkout is slow.
        stack: Whether to note where each connection is checked out.
        by_task: Tasks check out (AsyncMongoClient); else threads do.
        submitted: Ask who submitted the operation that a thread runs (Motor).
        events: The client's counts.
        refresh: Lets the client's event loop compare its counts with the driver's own pool, and then call what it
            is given; never waits and never raises. Where there is one, nobody is told of before that was done: a
            task that is cancelled at a bad moment returns its connection without an event. Default: where tasks
            check out, one that has ended is told of at the second look.
    """

    def __init__(
        self,
        pool: str,
        limit: float,
        events: Holdings,
        *,
        stack: bool,
        by_task: bool,
        submitted: bool,
        refresh: Refresh | None = None,
    ) -> None:
        super().__init__()
        self._pool = pool
        self._limit = limit
        self._events = events
        self._stack = stack
        self._by_task = by_task
        self._submitted = submitted
        self._refresh = refresh
        self._log_thread: LogThread | None = None
        self._after_fork_in_child()

    def _after_fork_in_child(self) -> None:
        """Forget what the parent's threads hold."""
        self._current: dict[tuple[Address, int], Checkout] = {}
        self._by_key: dict[int, Checkout] = {}
        self._asleep = True

    def attach(self, log_thread: LogThread) -> None:
        """Name the thread that calls ``look``, before the first event."""
        self._log_thread = log_thread

    def current(self) -> dict[tuple[str, int], Checkout]:
        """Each checkout by address and connection id."""
        # dict.copy and not a loop over the dictionary itself, which other threads change meanwhile.
        return {(each.server, each.connection_id): each for each in self._current.copy().values()}

    @property
    def on_submit(self) -> Callable[[Any], None] | None:
        """To be called with each Motor operation in the task that submits it; None for other drivers."""
        return partial(tell_worker, stack=self._stack) if self._submitted else None

    # What the driver tells.

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        """Note who took it, and wake the watch when it has nothing to look at yet."""
        key, origin = self._who()
        checkout = Checkout((event.address, event.connection_id), key, origin)
        if self._by_task and (missed := self._current.get(checkout.place)) is not None:
            # A task that is cancelled at a bad moment returns its connection without an event: nobody knows when.
            self._forget(missed)
        self._current[checkout.place] = checkout
        self._by_key[key] = checkout
        if self._asleep:
            self._asleep = False
            if self._log_thread is not None:
                self._log_thread.wake()

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        """Forget who held it; tell of it if that was for long."""
        # By who returns it first, because another may have taken the same connection before this is published.
        place = (event.address, event.connection_id)
        checkout = self._by_key.get(self._key())
        if checkout is None or checkout.place != place:
            checkout = self._current.get(place)
        # What was returned by another thread than took it, the watch finds.
        if checkout is not None and checkout.thread == threading.get_ident():
            self._end(checkout)

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        """A connection that its holder closes is held no longer."""
        checkout = self._current.get((event.address, event.connection_id))
        # One that somebody else closes is still to be returned, or was, and then the watch finds that.
        if checkout is not None and checkout.key == self._key():
            self._end(checkout)

    def started(self, event: CommandStartedEvent) -> None:
        """Note the command as the holder's last one."""
        checkout = self._by_key.get(self._key())
        if checkout is not None:
            checkout.command = event.command_name
            checkout.command_began = monotonic()

    def _key(self) -> int:
        task = current_task() if self._by_task else None
        # The id alone: a reference would keep the task of a leaked connection alive, and hide that it has ended.
        return threading.get_ident() if task is None else id(task)

    def _who(self) -> tuple[int, Origin]:
        if self._by_task and (task := current_task()) is not None:
            return id(task), Origin(task, stack=self._stack)
        origin = submitted_origin() if self._submitted else None
        return threading.get_ident(), origin or Origin(threading.current_thread(), stack=self._stack)

    def _end(self, checkout: Checkout) -> None:
        held = monotonic() - checkout.since
        self._forget(checkout)
        if held < self._limit or not checkout.end():
            return
        first = checkout.tell()
        if first:
            self._events.count_slow(checkout.server)
        self._hand_over(partial(self._log_return, checkout, held, first=first))

    def _forget(self, checkout: Checkout) -> None:
        if self._current.get(checkout.place) is checkout:
            self._current.pop(checkout.place, None)
        if self._by_key.get(checkout.key) is checkout:
            self._by_key.pop(checkout.key, None)

    # What the watch does, in the log thread.

    def look(self) -> float | None:
        """Tell of the connections that are held for too long by now.

        Returns:
            Seconds until another may be; None when nobody holds one that was not told of, and while the event loop
            has not compared yet: that wakes the watch.
        """
        now = monotonic()
        overdue = [each for each in self._current.copy().values() if now - each.since >= self._limit]
        held = (
            {(address, connection_id) for address, connection_id, _, _ in self._events.holdings()}
            if overdue
            else ()
        )
        unsure = []
        for checkout in overdue:
            if (checkout.server, checkout.connection_id) not in held:
                # Without a word, because nobody knows when it was returned, and whether it was slow.
                self._forget(checkout)
            elif not self._is_sure(checkout):
                unsure.append(checkout)
            elif checkout.tell():
                self._events.count_slow(checkout.server)
                self._hand_over(partial(self._log_slow, checkout, now - checkout.since))
        self._make_sure([each for each in unsure if not each.asked])
        pause = self._pause(now)
        if pause is None:
            # In this order: a checkout between the look and the flag would not wake us.
            self._asleep = True
            pause = self._pause(now)
            self._asleep = pause is None
        return pause

    def _is_sure(self, checkout: Checkout) -> bool:
        if not self._by_task or checkout.told or checkout.compared:
            return True
        return self._refresh is None and not checkout.origin.has_ended()

    def _make_sure(self, checkouts: list[Checkout]) -> None:
        if not checkouts:
            return
        for checkout in checkouts:
            checkout.asked = True
        if self._refresh is not None:
            self._refresh(partial(self._compared, checkouts))
        else:
            for checkout in checkouts:
                checkout.compared = True

    def _compared(self, checkouts: list[Checkout]) -> None:
        for checkout in checkouts:
            checkout.compared = True
        if self._log_thread is not None:
            self._log_thread.wake()

    def _pause(self, now: float) -> float | None:
        begun = [
            each.since
            for each in self._current.copy().values()
            if not each.told and (each.compared or not each.asked)
        ]
        if not begun:
            return None
        # Whoever checks out later is due later still.
        return max(min(begun) + self._limit - now, min(self._limit / 4, 1.0), _SHORTEST_PAUSE)

    def _hand_over(self, call: Callable[[], None]) -> None:
        if self._log_thread is not None:
            self._log_thread.hand_over(call)

    def _log_slow(self, checkout: Checkout, seconds: float, *, returned: bool = False) -> None:
        logger.warning(
            "%s: connection %d to %s %s %.3f s (slow_checkout_ms=%g) by %s; %s%s%s",
            self._pool,
            checkout.connection_id,
            checkout.server,
            "was held for" if returned else "has been held for",
            seconds,
            self._limit * 1000,
            checkout.origin,
            _last_command(checkout),
            "" if returned else self._ended(checkout.origin),
            f"\nIt was checked out at:\n{stack}" if (stack := checkout.origin.stack()) else "",
        )

    def _log_return(self, checkout: Checkout, seconds: float, *, first: bool) -> None:
        if first:
            self._log_slow(checkout, seconds, returned=True)
        logger.info(
            "%s: connection %d to %s, taken by %s, returned after %.3f s",
            self._pool,
            checkout.connection_id,
            checkout.server,
            checkout.origin,
            seconds,
        )

    def _ended(self, origin: Origin) -> str:
        if not origin.has_ended():
            return ""
        if self._submitted and origin.kind == "task":
            return f". The {origin.kind} that asked for it has ended; its operation goes on in a worker thread"
        return f". The {origin.kind} that took it has ended: it may be leaked"

    # The driver calls every handler of a listener, and the base classes raise in each.

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing: the last command stays the last one."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing: the last command stays the last one."""

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """Nothing to note."""

    def pool_ready(self, event: PoolReadyEvent) -> None:
        """Nothing to note."""

    def pool_cleared(self, event: PoolClearedEvent) -> None:
        """Nothing to note: each connection that it closes has an event of its own."""

    def pool_closed(self, event: PoolClosedEvent) -> None:
        """Nothing to note: connections still in use report later."""

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        """Nothing to note."""

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """Nothing to note."""

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Nothing to note: nobody holds anything yet."""

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        """Nothing to note."""


def _last_command(checkout: Checkout) -> str:
    if checkout.command is None:
        return "no command was sent on it"
    return f"its last command, {checkout.command}, began {monotonic() - checkout.command_began:.3f} s ago"
