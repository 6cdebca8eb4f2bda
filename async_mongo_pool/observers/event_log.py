"""Every event of a client's connections as a line at DEBUG on ``async_mongo_pool.events``.

The listener is added only to clients that are made while that logger is enabled for DEBUG, so that it costs
nothing otherwise. It logs at once, in the driver's code, some of it with the driver's lock held: a handler of this
logger must not use this database, and should be fast.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pymongo.monitoring import ConnectionPoolListener

from async_mongo_pool.addresses import address_text

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

__all__ = ["EventLog", "is_wanted"]

logger = logging.getLogger("async_mongo_pool.events")


def is_wanted() -> bool:
    """Whether anybody listens, now."""
    return logger.isEnabledFor(logging.DEBUG)


class EventLog(ConnectionPoolListener):
    """Writes the eleven CMAP events, one line each.

    Args:
        pool: The pool's name, which begins each line.
    """

    def __init__(self, pool: str) -> None:
        self._pool = pool

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """The options are the five of the pool's size and times, none of them secret."""
        self._log(
            event, "pool created (%s)", ", ".join(f"{name}={value}" for name, value in event.options.items())
        )

    def pool_ready(self, event: PoolReadyEvent) -> None:
        """Connections may be made."""
        self._log(event, "pool ready")

    def pool_cleared(self, event: PoolClearedEvent) -> None:
        """After a network error or a change of primary."""
        interrupts = event.interrupt_connections
        self._log(event, "pool cleared, operations interrupted" if interrupts else "pool cleared")

    def pool_closed(self, event: PoolClosedEvent) -> None:
        """With its client, or when its server left the deployment."""
        self._log(event, "pool closed")

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        """Its set-up begins."""
        self._log(event, "connection %d created", event.connection_id)

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """The driver's duration leaves DNS, TCP and TLS out."""
        self._log(event, "connection %d ready after %.6f s", event.connection_id, event.duration or 0.0)

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        """With the driver's reason: idle, stale, error or poolClosed."""
        self._log(event, "connection %d closed: %s", event.connection_id, event.reason)

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Somebody asks for a connection."""
        self._log(event, "checkout started")

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        """With the driver's reason: timeout, connectionError or poolClosed."""
        self._log(event, "checkout failed after %.6f s: %s", event.duration or 0.0, event.reason)

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        """Somebody got a connection."""
        self._log(event, "connection %d checked out after %.6f s", event.connection_id, event.duration or 0.0)

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        """It was given back."""
        self._log(event, "connection %d checked in", event.connection_id)

    def _log(self, event: Any, text: str, *arguments: object) -> None:
        logger.debug("%s %s: " + text, self._pool, address_text(event.address), *arguments)  # noqa: G003
