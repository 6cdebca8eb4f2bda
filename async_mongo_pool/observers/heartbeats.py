"""How long heartbeats took: only with ``heartbeat_stats``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pymongo.monitoring import ServerHeartbeatListener

from async_mongo_pool.addresses import address_text
from async_mongo_pool.distribution import Recorder
from async_mongo_pool.forks import StartsAfresh

if TYPE_CHECKING:
    from pymongo.monitoring import (
        ServerHeartbeatFailedEvent,
        ServerHeartbeatStartedEvent,
        ServerHeartbeatSucceededEvent,
    )

    from async_mongo_pool.addresses import Address
    from async_mongo_pool.distribution import Distribution

__all__ = ["HeartbeatTimes"]


class HeartbeatTimes(ServerHeartbeatListener, StartsAfresh):
    """Times the heartbeats of one client, by server.

    Only those that the server answers at once: it delays the awaited ones until something changes. A server that
    streams its state is asked at once only after each failure; ``serverMonitoringMode=poll`` makes all of them so.
    """

    def __init__(self) -> None:
        super().__init__()
        self._after_fork_in_child()

    def _after_fork_in_child(self) -> None:
        """Begin at zero, with a lock that nobody holds."""
        self._lock = threading.RLock()
        self._servers: dict[Address, Recorder] = {}

    def stats(self) -> dict[str, Distribution]:
        """What was counted so far, by the server's address."""
        with self._lock:
            return {address_text(address): recorder.distribution() for address, recorder in self._servers.items()}

    def succeeded(self, event: ServerHeartbeatSucceededEvent) -> None:
        """Count a round trip."""
        if event.awaited:
            return
        with self._lock:
            # Seconds, whatever the driver's documentation says.
            self._servers.setdefault(event.connection_id, Recorder()).record(event.duration)

    def started(self, event: ServerHeartbeatStartedEvent) -> None:
        """Nothing to count yet."""

    def failed(self, event: ServerHeartbeatFailedEvent) -> None:
        """Nothing to count: there was no round trip."""
