"""An independent witness: it writes down every event, and computes the truth from the list alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pymongo.monitoring import ConnectionPoolListener

if TYPE_CHECKING:
    from async_mongo_pool.stats import PoolSnapshot, ServerStats

_SNAKE = {"poolClosed": "pool_closed", "connectionError": "connection_error"}


class Witness(ConnectionPoolListener):
    """Appends what it sees; ``list.append`` is safe in threads."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str | None]] = []
        self._counted: Counter[tuple[str, str, str | None]] = Counter()

    def _write(self, what: str, event: Any) -> None:
        host, port = event.address
        reason = getattr(event, "reason", None)
        self.seen.append((what, f"{host}:{port}", _SNAKE.get(reason, reason) if reason else None))

    def counted(self) -> Counter[tuple[str, str, str | None]]:
        """How often each event came; at rest, because what comes meanwhile might be lost."""
        self._counted.update(self.seen)
        self.seen.clear()
        return self._counted

    def pool_created(self, event: Any) -> None:
        self._write("pool created", event)

    def pool_ready(self, event: Any) -> None:
        self._write("pool ready", event)

    def pool_cleared(self, event: Any) -> None:
        self._write("pool cleared", event)

    def pool_closed(self, event: Any) -> None:
        self._write("pool closed", event)

    def connection_created(self, event: Any) -> None:
        self._write("created", event)

    def connection_ready(self, event: Any) -> None:
        self._write("ready", event)

    def connection_closed(self, event: Any) -> None:
        self._write("closed", event)

    def connection_check_out_started(self, event: Any) -> None:
        self._write("started", event)

    def connection_check_out_failed(self, event: Any) -> None:
        self._write("failed", event)

    def connection_checked_out(self, event: Any) -> None:
        self._write("out", event)

    def connection_checked_in(self, event: Any) -> None:
        self._write("in", event)

    def of(self, address: str) -> tuple[Counter[str], Counter[str | None], Counter[str | None]]:
        """How often each event came, the reasons of failures, and the reasons of closings, of one server."""
        events: Counter[str] = Counter()
        reasons: dict[str, Counter[str | None]] = {"failed": Counter(), "closed": Counter()}
        for (what, where, reason), number in self.counted().items():
            if where == address:
                events[what] += number
                if what in reasons:
                    reasons[what][reason] += number
        return events, reasons["failed"], reasons["closed"]

    def addresses(self) -> set[str]:
        return {address for _, address, _ in self.counted()}

    def agrees(self, snapshot: PoolSnapshot) -> None:
        """Assert that a snapshot taken at rest says what the events say."""
        assert snapshot.drift == 0, snapshot.broken_laws
        assert set(snapshot.servers) == self.addresses()
        for address, stats in snapshot.servers.items():
            self._agrees(address, stats)

    def _agrees(self, address: str, stats: ServerStats) -> None:
        seen, failures, closings = self.of(address)
        assert stats.checkouts_started == seen["started"]
        assert stats.checkouts == stats.checkout_wait.count == seen["out"]
        assert +Counter(stats.checkout_failures) == failures
        assert stats.connections_created == seen["created"]
        assert stats.clears == seen["pool cleared"]
        reported = dict(stats.connections_closed)
        unreported = reported.pop("unreported")
        assert +Counter(reported) == closings
        # At rest nobody waits and nothing is held: what was not answered was given up.
        assert (stats.pending_requests, stats.used, stats.connecting) == (0, 0, 0)
        assert stats.checkouts_abandoned == seen["started"] - seen["out"] - seen["failed"]
        assert stats.size == stats.idle == seen["created"] - seen["closed"] - unreported
        assert stats.connection_use.count <= seen["in"] <= seen["out"]
        if not stats.events_missed:
            assert stats.connection_use.count == seen["in"] == seen["out"]
