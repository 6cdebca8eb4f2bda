"""A model of the driver's pool of one server: what it does, and the events that it owes the listener.

State changes and publications are separate steps, as they are in the driver, so that a test can put anything in
between. The truth is computed from the state alone, never from the events.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from async_mongo_pool.counters import DriverPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.counters import ServerCounters


@dataclass(eq=False)
class ModelPool:
    """One pool object of the driver: its ids begin at 1."""

    next_id: int = 1
    idle: list[int] = field(default_factory=list)
    closed: bool = False


@dataclass(eq=False)
class Actor:
    """A thread or task: what it does, and what it still has to publish, in its own order."""

    doing: str = "nothing"
    pool: ModelPool | None = None
    connection: int = 0
    owed: deque[Callable[[], None]] = field(default_factory=deque)


class DriverModel:
    """Actors that check connections of one server out and in."""

    def __init__(self, counters: ServerCounters, actors: int) -> None:
        self.counters = counters
        self.actors = [Actor() for _ in range(actors)]
        self.pool = ModelPool()
        self.now = 0.0
        self.started = self.succeeded = self.failed = self.created = self.closed = self.given_up = 0
        self.ids_used_twice = False
        counters.pool_created()
        counters.pool_ready()

    # The truth.

    @property
    def used(self) -> int:
        return sum(actor.doing == "using" for actor in self.actors)

    @property
    def connecting(self) -> int:
        return sum(actor.doing in ("connecting", "filling") for actor in self.actors)

    @property
    def waiting(self) -> int:
        return sum(actor.doing in ("waiting", "connecting") for actor in self.actors)

    @property
    def all_published(self) -> bool:
        return not any(actor.owed for actor in self.actors)

    def driver_pool(self) -> DriverPool:
        """What a look into the driver's pool finds."""
        placed = sum(actor.doing in ("using", "connecting") for actor in self.actors)
        filling = sum(actor.doing == "filling" for actor in self.actors)
        return DriverPool(
            frozenset(self.pool.idle), placed, self.connecting, placed + filling, self.used + self.waiting
        )

    # What it does. Whoever acts may owe an event first.

    def publish(self, actor: Actor) -> None:
        self.now += 0.001
        actor.owed.popleft()()

    def ask(self, actor: Actor) -> None:
        key = self.actors.index(actor)
        actor.doing, actor.pool = "waiting", self.pool
        self.started += 1
        self.counters.check_out_started(key)

    def reuse(self, actor: Actor) -> None:
        """Take an idle connection; the driver says so a little later."""
        actor.pool, actor.connection = self.pool, self.pool.idle.pop()
        self._use(actor)

    def _use(self, actor: Actor) -> None:
        actor.doing = "using"
        self.succeeded += 1
        key, connection = self.actors.index(actor), actor.connection
        actor.owed.append(lambda: self.counters.checked_out(connection, 0.002, self.now, key))

    def connect(self, actor: Actor, doing: str) -> None:
        actor.pool, actor.doing, actor.connection = self.pool, doing, self.pool.next_id
        self.pool.next_id += 1
        self.created += 1
        self.counters.connection_created(actor.connection, self.now)

    def connected(self, actor: Actor) -> None:
        self.counters.connection_ready(actor.connection, self.now)
        if actor.doing == "connecting":
            self._use(actor)
        else:
            self._put_back(actor)

    def connecting_failed(self, actor: Actor) -> None:
        self.closed += 1
        self.counters.connection_closed(actor.connection, "error")
        if actor.doing == "connecting":
            self._fail(actor, "connection_error")
        actor.doing = "nothing"

    def wait_in_vain(self, actor: Actor) -> None:
        self._fail(actor, "timeout")
        actor.doing = "nothing"

    def _fail(self, actor: Actor, reason: str) -> None:
        self.failed += 1
        self.counters.check_out_failed(reason, self.actors.index(actor))

    def authenticate_again(self, actor: Actor) -> None:
        self.counters.connection_ready(actor.connection, self.now)

    def give_back(self, actor: Actor, *, broken: bool = False) -> None:
        """The place in the pool is free first; that the connection was checked in is said afterwards."""
        connection = actor.connection
        actor.owed.append(lambda: self.counters.checked_in(connection, self.now))
        self._put_back(actor, broken=broken)

    def _put_back(self, actor: Actor, *, broken: bool = False) -> None:
        actor.doing = "nothing"
        if actor.pool is self.pool and not self.pool.closed and not broken:
            self.pool.idle.append(actor.connection)
            return
        reason = "error" if broken else "pool_closed"
        self.closed += 1
        actor.owed.append(partial(self.counters.connection_closed, actor.connection, reason))

    def drop_idle(self, actor: Actor, reason: str) -> None:
        """The background thread reaps, or a clear makes them stale."""
        for connection in self.pool.idle:
            self.closed += 1
            actor.owed.append(partial(self.counters.connection_closed, connection, reason))
        self.pool.idle = []

    def begin_again(self, actor: Actor) -> None:
        """The server leaves the deployment and comes back: a new pool under the same address."""
        self.ids_used_twice = True
        self.drop_idle(actor, "pool_closed")
        self.pool.closed = True
        self.counters.pool_closed()
        self.pool = ModelPool()
        self.counters.pool_created()
        self.counters.pool_ready()
