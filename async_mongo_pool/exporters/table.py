"""The table of metrics, once: both exporters work through it and ``docs/metrics.md`` is checked against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from async_mongo_pool.distribution import BOUNDS

from .metric import (
    Label,
    Metric,
    Reading,
    of_executor,
    of_executor_by,
    of_pool,
    of_pool_by,
    of_servers,
    of_servers_by,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from async_mongo_pool.stats import PoolSnapshot, ServerStats

__all__ = ["METRICS", "SERVER"]

SERVER = Label("server", None)
STATE = Label("state", "db.client.connection.state")
REASON = Label("reason", "error.type")
CLOSE_REASON = Label("reason", "mongodb.client.connection.close.reason")
COMMAND = Label("command", "db.operation.name")
DATABASE = Label(None, "db.namespace")
ERROR = Label(None, "error.type")
OUTCOME = Label("outcome", None)

OPERATION_BOUNDS = tuple(bound for bound in BOUNDS if bound >= 0.001)
"""The convention for ``db.client.operation.duration`` prescribes its buckets; ours only divide its first."""


def _states(stats: ServerStats) -> Mapping[str, int]:
    return {"used": stats.used, "idle": stats.idle, "connecting": stats.connecting}


def _commands(snapshot: PoolSnapshot) -> Iterable[Reading]:
    for command, stats in snapshot.commands.items():
        for each in stats.series:
            outcome = "success" if each.error is None else "failure"
            yield (each.server, command, each.database, each.error, outcome), each.duration


METRICS: tuple[Metric, ...] = (
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_connections",
        otel="db.client.connection.count",
        unit="{connection}",
        summary="Connections that exist, by what they do: used, idle or connecting.",
        labels=(SERVER, STATE),
        read=of_servers_by(_states),
    ),
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_max_connections",
        otel="db.client.connection.max",
        unit="{connection}",
        summary="maxPoolSize; absent when unlimited.",
        labels=(SERVER,),
        # A server that has left takes its share of the capacity along.
        read=of_servers(lambda stats: stats.max_size if stats.state != "closed" else None),
    ),
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_min_connections",
        otel="db.client.connection.idle.min",
        unit="{connection}",
        summary="minPoolSize, which bounds used and idle connections together.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.min_size if stats.state != "closed" else None),
    ),
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_pending_requests",
        otel="db.client.connection.pending_requests",
        unit="{request}",
        summary="Operations that wait in the driver for a connection.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.pending_requests),
    ),
    Metric(
        instrument="gauge",
        prometheus="mongo_pool_oldest_use_seconds",
        otel="mongodb.client.connection.oldest_use",
        unit="s",
        summary="How long the oldest of the used connections has been checked out.",
        labels=(SERVER,),
        across="max",
        read=of_servers(lambda stats: stats.oldest_use_seconds),
    ),
    Metric(
        instrument="gauge",
        prometheus="mongo_pool_ready",
        otel="mongodb.client.connection.pool.ready",
        unit="1",
        summary="1 while the server is reachable, 0 while its pool is paused or closed.",
        labels=(SERVER,),
        across="min",
        read=of_servers(lambda stats: int(stats.state == "ready")),
    ),
    Metric(
        instrument="histogram",
        prometheus="mongo_pool_checkout_wait_seconds",
        otel="db.client.connection.wait_time",
        unit="s",
        summary="How long successful checkouts waited in the driver, the set-up of a connection included.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.checkout_wait),
    ),
    Metric(
        instrument="histogram",
        prometheus="mongo_pool_connection_use_seconds",
        otel="db.client.connection.use_time",
        unit="s",
        summary="How long connections were checked out.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.connection_use),
    ),
    Metric(
        instrument="histogram",
        prometheus="mongo_pool_connection_create_seconds",
        otel="db.client.connection.create_time",
        unit="s",
        summary="How long setting up a connection took, with DNS, TCP, TLS and authentication.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.connection_create),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_checkout_failures",
        otel="mongodb.client.connection.checkout.failures",
        unit="{failure}",
        summary="Requests for a connection that failed.",
        labels=(SERVER, REASON),
        read=of_servers_by(lambda stats: stats.checkout_failures),
    ),
    Metric(
        instrument="counter",
        prometheus=None,
        otel="db.client.connection.timeouts",
        unit="{timeout}",
        summary="Requests for a connection that timed out.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.checkout_failures["timeout"]),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_checkouts_abandoned",
        otel="mongodb.client.connection.checkout.abandoned",
        unit="{request}",
        summary="Requests for a connection whose task was cancelled while it waited.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.checkouts_abandoned),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_slow_checkouts",
        otel="mongodb.client.connection.checkout.slow",
        unit="{connection}",
        summary="Connections that were held for longer than slow_checkout_ms.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.slow_checkouts),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_connections_created",
        otel="mongodb.client.connection.created",
        unit="{connection}",
        summary="Connections that were begun.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.connections_created),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_connections_closed",
        otel="mongodb.client.connection.closed",
        unit="{connection}",
        summary="Connections that ended.",
        labels=(SERVER, CLOSE_REASON),
        read=of_servers_by(lambda stats: stats.connections_closed),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_clears",
        otel="mongodb.client.connection.pool.clears",
        unit="{clear}",
        summary="How often the driver cleared the pool, after a network error or a change of primary.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.clears),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_events_missed",
        otel="mongodb.client.connection.events_missed",
        unit="{event}",
        summary="Events that the driver never published, found and made good.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.events_missed),
    ),
    Metric(
        instrument="histogram",
        prometheus="mongo_pool_wait_seconds",
        otel="mongodb.client.wait_time",
        unit="s",
        summary="How long operations waited in all, for one of Motor's workers and for a connection.",
        read=of_pool(lambda snapshot: snapshot.totals.wait),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_replacements",
        otel="mongodb.client.replacements",
        unit="{replacement}",
        summary="How often a client was replaced by one with another configuration.",
        read=of_pool(lambda snapshot: snapshot.replacements),
        outlives_client=True,
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_retry_operations",
        otel="mongodb.client.retry.operations",
        unit="{operation}",
        summary="Calls of run and retrying.",
        read=of_pool(lambda snapshot: snapshot.retries.operations),
        outlives_client=True,
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_retries",
        otel="mongodb.client.retry.retries",
        unit="{retry}",
        summary="Attempts that the pool made beyond the first of a call; the driver's own are not counted.",
        read=of_pool(lambda snapshot: snapshot.retries.retries),
        outlives_client=True,
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_retries_recovered",
        otel="mongodb.client.retry.recovered",
        unit="{operation}",
        summary="Calls of run and retrying that succeeded after a retry.",
        read=of_pool(lambda snapshot: snapshot.retries.recovered),
        outlives_client=True,
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_retries_given_up",
        otel="mongodb.client.retry.given_up",
        unit="{operation}",
        summary="Calls that failed although a retry might have cured them, by what stood against one.",
        labels=(REASON,),
        read=of_pool_by(lambda snapshot: snapshot.retries.given_up),
        outlives_client=True,
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_retry_abandoned",
        otel="mongodb.client.retry.abandoned",
        unit="{operation}",
        summary="Calls of run whose caller was cancelled while the driver was at work.",
        read=of_pool(lambda snapshot: snapshot.retries.abandoned),
        outlives_client=True,
    ),
    Metric(
        instrument="gauge",
        prometheus="mongo_pool_retry_budget",
        otel="mongodb.client.retry.budget",
        unit="{retry}",
        summary="Retries that could be made at once, now.",
        across="min",
        read=of_pool(lambda snapshot: snapshot.retries.budget),
    ),
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_drift",
        otel="mongodb.client.drift",
        unit="{law}",
        summary="Laws of counting that do not hold; not 0 only by a fault in the driver or the pool.",
        read=of_pool(lambda snapshot: snapshot.drift),
    ),
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_executor_pending",
        otel="mongodb.client.executor.pending_requests",
        unit="{request}",
        summary="Operations that wait for one of Motor's workers, before they ask for a connection.",
        read=of_executor(lambda executor: executor.queued),
    ),
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_executor_workers",
        otel="mongodb.client.executor.worker.count",
        unit="{thread}",
        summary="Motor's worker threads that exist.",
        read=of_executor(lambda executor: executor.workers),
    ),
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_executor_max_workers",
        otel="mongodb.client.executor.worker.max",
        unit="{thread}",
        summary="The most worker threads that Motor may have now.",
        read=of_executor(lambda executor: executor.max_workers),
    ),
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_executor_busy",
        otel="mongodb.client.executor.worker.busy",
        unit="{thread}",
        summary="Motor's worker threads that run an operation.",
        read=of_executor(lambda executor: executor.busy),
    ),
    Metric(
        instrument="updowncounter",
        prometheus="mongo_pool_executor_streaming",
        otel="mongodb.client.executor.worker.streaming",
        unit="{thread}",
        summary="Of those that run an operation, the ones that wait on a change stream or a tailable cursor.",
        read=of_executor(lambda executor: executor.streaming),
    ),
    Metric(
        instrument="histogram",
        prometheus="mongo_pool_executor_wait_seconds",
        otel="mongodb.client.executor.wait_time",
        unit="s",
        summary="How long operations waited for one of Motor's workers.",
        read=of_executor(lambda executor: executor.wait),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_executor_refused",
        otel="mongodb.client.executor.refused",
        unit="{request}",
        summary="Operations that were refused before they got one of Motor's workers.",
        labels=(REASON,),
        read=of_executor_by(lambda executor: executor.refused),
    ),
    Metric(
        instrument="counter",
        prometheus="mongo_pool_executor_abandoned",
        otel="mongodb.client.executor.abandoned",
        unit="{request}",
        summary="Operations whose waiter was cancelled before they got one of Motor's workers.",
        read=of_executor(lambda executor: executor.abandoned),
    ),
    Metric(
        instrument="histogram",
        prometheus="mongo_command_duration_seconds",
        otel="db.client.operation.duration",
        unit="s",
        summary="How long commands took, as the driver measured it; with command_stats only.",
        labels=(SERVER, COMMAND, DATABASE, ERROR, OUTCOME),
        bounds=OPERATION_BOUNDS,
        read=_commands,
    ),
    Metric(
        instrument="histogram",
        prometheus="mongo_server_heartbeat_seconds",
        otel="mongodb.client.server.heartbeat.duration",
        unit="s",
        summary="Round trips of heartbeats that were not awaited; with heartbeat_stats only.",
        labels=(SERVER,),
        read=of_servers(lambda stats: stats.heartbeat if stats.heartbeat.count else None),
    ),
)
"""Every metric, in the order of the documentation."""
