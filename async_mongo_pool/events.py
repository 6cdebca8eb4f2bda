"""The CMAP listener that every client of ours is built with: events in, connection counts out.

One listener belongs to one client, because no CMAP event names its client. Handlers run in driver code, some
with the driver's pool lock held (``pool_ready``, ``pool_cleared``): they touch a few integers, call nothing
back and never raise.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pymongo.monitoring import ConnectionPoolListener

if TYPE_CHECKING:
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

__all__ = ["ConnectionEvents"]

Address = tuple[str, int | None]


@dataclass(slots=True)
class _Server:
    """The connections of one server's pool, by the driver's connection id."""

    ready: set[int] = field(default_factory=set)
    used: set[int] = field(default_factory=set)


class ConnectionEvents(ConnectionPoolListener):
    """Counts the open and the used connections of one client, per server."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._servers: dict[Address, _Server] = {}

    def used(self) -> int:
        """The connections that are checked out now, over all servers."""
        with self._lock:
            return sum(len(server.used) for server in self._servers.values())

    def ready(self) -> int:
        """The open connections, used and idle, of the server that has most."""
        with self._lock:
            return max((len(server.ready) for server in self._servers.values()), default=0)

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """Start a server's counts afresh: connection ids begin at 1 again in every new pool."""
        with self._lock:
            self._servers[event.address] = _Server()

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """Count a connection that finished its handshake (again, after a re-authentication)."""
        with self._lock:
            self._server(event.address).ready.add(event.connection_id)

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        """Forget a connection; one that never became ready was never counted."""
        with self._lock:
            server = self._server(event.address)
            server.ready.discard(event.connection_id)
            server.used.discard(event.connection_id)

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        """Count a connection as used."""
        with self._lock:
            self._server(event.address).used.add(event.connection_id)

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        """Count a connection as idle again."""
        with self._lock:
            self._server(event.address).used.discard(event.connection_id)

    # The driver calls every handler of a listener, and the base class raises in each.

    def pool_ready(self, event: PoolReadyEvent) -> None:
        """Nothing to count."""

    def pool_cleared(self, event: PoolClearedEvent) -> None:
        """Nothing to count: each connection that a clear closes has an event of its own."""

    def pool_closed(self, event: PoolClosedEvent) -> None:
        """Nothing to count: connections still in use report later."""

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        """Nothing to count until the handshake is done."""

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Nothing to count: the wait queue is measured elsewhere."""

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        """Nothing to count: the wait queue is measured elsewhere."""

    def _server(self, address: Address) -> _Server:
        return self._servers.setdefault(address, _Server())
