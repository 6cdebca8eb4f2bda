"""Every public call, and the bound that its documentation states.

A bound is in seconds, for the arguments of the row. ``AT_ONCE`` is for calls from memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from async_mongo_pool import AsyncHealthMonitor, AsyncMongoDBConnectionPool, HealthMonitor, MongoDBConnectionPool
from async_mongo_pool.exporters import opentelemetry, prometheus
from tests.pools.subjects import ping

if TYPE_CHECKING:
    from collections.abc import Callable

    from .scene import Scene

__all__ = ["AT_ONCE", "CLASSES", "MONITORS", "POOLS", "ROWS", "SCHEDULING", "Row", "waiting_once"]

POOLS: tuple[Any, ...] = (AsyncMongoDBConnectionPool, MongoDBConnectionPool)
MONITORS: tuple[Any, ...] = (AsyncHealthMonitor, HealthMonitor)
CLASSES = {"pool": POOLS, "monitor": MONITORS}

AT_ONCE = 0.0
SCHEDULING = 0.3
"""Seconds beside the bound, a tenth of it, and what the machine took: 0.2 that the documentation names, in which
what failed is closed, and the rest because some forty calls are made at once."""
LIMIT = 0.5
STATS = 2.0
FAREWELL = 2.0
"""What closing takes at most when nothing has to be waited for, however much more is allowed."""
PROBE = 0.4
EVERY = ("closed", "open", "full")
OPENED = ("open", "full")
OPENING = ("pool.initialize", "pool.rotate", "pool.scope")


@dataclass(frozen=True)
class Row:
    """One call.

    Attributes:
        name: What it proves a bound of: "pool.close", "monitor.stop" ...
        bound: Seconds.
        call: Makes the call; what it returns is awaited if it can be.
        states: In which states of the pool it is made.
        label: Tells rows of one name apart.
        opens: Opens the pool before the fault, in another way than by ``initialize``.
    """

    name: str
    bound: float
    call: Callable[[Scene], Any]
    states: tuple[str, ...] = EVERY
    label: str = ""
    opens: Callable[[Scene], Any] | None = None

    def __str__(self) -> str:
        return f"{self.name}{f' ({self.label})' if self.label else ''}"


def initialize(scene: Scene, **options: Any) -> Any:
    return scene.pool.initialize(scene.uri, **{**scene.options, **options})


def replace(scene: Scene, **options: Any) -> Any:
    return initialize(scene, **{"maxPoolSize": 3, "timeout": LIMIT, **options})


def enter(scene: Scene) -> Any:
    """Enter a scope that the pool is opened by; the row leaves it."""
    scene.manager = scene.pool.scope(scene.uri, **scene.options)
    return scene.manager.__aenter__() if scene.subject.is_async else scene.manager.__enter__()


def leave(scene: Scene) -> Any:
    exit_of = scene.manager.__aexit__ if scene.subject.is_async else scene.manager.__exit__
    return exit_of(None, None, None)


def scope(scene: Scene) -> Any:
    """Enter a scope of whatever is open, and leave it."""
    manager = scene.pool.scope(scene.uri, timeout=LIMIT, **scene.options)
    if not scene.subject.is_async:
        with manager:
            return None

    async def entered() -> None:
        async with manager:
            pass

    return entered()


def limited(scene: Scene) -> Any:
    """A driver's call within ``operation``."""
    client = scene.pool.get_client()
    if client is None:
        return scene.pool.operation(timeout=LIMIT)
    limit = scene.pool.operation(timeout=LIMIT)
    if not scene.subject.is_async:
        with limit:
            return ping(client)

    async def entered() -> Any:
        async with limit:
            return await ping(client)

    return entered()


def decorated(scene: Scene) -> Any:
    return scene.pool.retrying(idempotent=True, deadline=LIMIT)(ping)()


def run(scene: Scene, **terms: Any) -> Any:
    return scene.pool.run(ping, deadline=LIMIT, **terms)


def close(scene: Scene, name: str = "close", **options: Any) -> Any:
    return getattr(scene.pool, name)(**{"drain": 0.2, "timeout": LIMIT, **options})


def close_sync(scene: Scene) -> Any:
    """Where no event loop runs: in a thread of its own."""
    if not scene.subject.is_async:
        return close(scene, "close_sync")
    from async_mongo_pool.daemon import in_daemon_thread, wait_in_loop

    return wait_in_loop(in_daemon_thread("bounds-close", lambda: close(scene, "close_sync")))


def watch(scene: Scene) -> Any:
    """Start a monitor, and stop it while it looks."""
    if not scene.subject.is_async:
        scene.monitor.start()
        return scene.monitor.stop()

    async def watched() -> None:
        await scene.monitor.start()
        await scene.monitor.stop()

    return watched()


def scrape(scene: Scene) -> bytes:
    registry = CollectorRegistry()
    prometheus.register(scene.pool, registry=registry)
    text = generate_latest(registry)
    prometheus.unregister(registry)
    return text


def collect(scene: Scene) -> Any:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with opentelemetry.instrument(scene.pool, meter_provider=provider):
        data = reader.get_metrics_data()
    provider.shutdown()
    return data


ROWS: tuple[Row, ...] = (
    # It waits for a server.
    Row("pool.initialize", LIMIT, lambda scene: initialize(scene, timeout=LIMIT), ("closed",), "timeout"),
    Row(
        "pool.initialize",
        LIMIT,
        lambda scene: initialize(scene, serverSelectionTimeoutMS=LIMIT * 1000),
        ("closed",),
        "the default timeout",
    ),
    Row(
        "pool.initialize",
        LIMIT,
        lambda scene: initialize(scene, timeout=LIMIT, warm_up=True, minPoolSize=2),
        ("closed",),
        "warm_up",
    ),
    Row(
        "pool.initialize",
        0.4 + LIMIT,
        lambda scene: initialize(scene, timeout=LIMIT, retry_for=0.4),
        ("closed",),
        "retry_for",
    ),
    Row(
        "pool.initialize",
        LIMIT,
        lambda scene: initialize(scene, timeout=LIMIT, on_failure="degraded"),
        ("closed",),
        "degraded",
    ),
    Row(
        "pool.initialize",
        0.4 + 2 * LIMIT,
        lambda scene: initialize(scene, timeout=LIMIT, retry_for=0.4, on_failure="degraded"),
        ("closed",),
        "retry_for and degraded",
    ),
    Row("pool.initialize", AT_ONCE, lambda scene: scene.pool.initialize(), OPENED, "what is open"),
    Row("pool.initialize", LIMIT, replace, OPENED, "another configuration"),
    Row("pool.initialize", LIMIT, lambda scene: replace(scene, warm_up=True), OPENED, "another, warmed up"),
    Row("pool.rotate", LIMIT, lambda scene: scene.pool.rotate(timeout=LIMIT), OPENED),
    Row("pool.rotate", LIMIT, lambda scene: scene.pool.rotate(scene.uri, timeout=LIMIT), ("closed",)),
    Row("pool.scope", LIMIT, scope, ("closed",)),
    Row("pool.scope", AT_ONCE, scope, OPENED, "sharing"),
    Row("pool.scope", FAREWELL, leave, ("open",), "the last one out", enter),
    Row("pool.run", LIMIT, run),
    Row("pool.run", LIMIT, lambda scene: run(scene, idempotent=True), label="retrying"),
    Row("pool.retrying", LIMIT, decorated),
    Row("pool.operation", LIMIT, limited),
    Row("pool.get_pool_stats", STATS, lambda scene: scene.pool.get_pool_stats()),
    Row("pool.get_pool_stats", STATS, lambda scene: scene.pool.get_pool_stats(server=True), label="server"),
    Row("pool.readiness", PROBE, lambda scene: scene.pool.readiness(timeout=PROBE, max_age=0)),
    Row("pool.readiness", 1.0, lambda scene: scene.pool.readiness("primary"), label="the default timeout"),
    # It waits for work in progress.
    Row("pool.close", LIMIT, close),
    Row("pool.close", LIMIT, lambda scene: close(scene, drain=5), label="a drain beyond the timeout"),
    Row("pool.close", FAREWELL, lambda scene: scene.pool.close(), ("open",), "idle"),
    Row("pool.close_sync", LIMIT, close_sync),
    # The monitor waits for the look in progress, 1 s beyond the look's own timeout at most.
    Row("monitor.start", AT_ONCE, lambda scene: scene.monitor.start()),
    Row("monitor.stop", PROBE + 1, watch),
    Row("monitor.status", AT_ONCE, lambda scene: scene.monitor.status()),
    # From memory.
    Row("pool.liveness", AT_ONCE, lambda scene: scene.pool.liveness()),
    Row("pool.snapshot", AT_ONCE, lambda scene: scene.pool.snapshot()),
    Row("pool.holders", AT_ONCE, lambda scene: scene.pool.holders()),
    Row("pool.retry_stats", AT_ONCE, lambda scene: scene.pool.retry_stats()),
    Row("pool.explain", AT_ONCE, lambda scene: scene.pool.explain()),
    Row("pool.all_pools", AT_ONCE, lambda scene: scene.pool.all_pools()),
    Row("pool.get_client", AT_ONCE, lambda scene: scene.pool.get_client()),
    Row("pool.get_database", AT_ONCE, lambda scene: scene.pool.get_database("test")),
    Row("pool.get_collection", AT_ONCE, lambda scene: scene.pool.get_collection("a", database="test")),
    Row("pool.configure", AT_ONCE, lambda scene: scene.pool.configure(scene.uri)),
    Row("pool.named", AT_ONCE, lambda scene: scene.pool.named(f"{scene.subject.name}b")),
    Row("pool.__call__", AT_ONCE, lambda scene: repr(scene.pool())),
    Row("prometheus", AT_ONCE, scrape),
    Row("opentelemetry", AT_ONCE, collect),
)


def waiting_once(state: str) -> tuple[Row, ...]:
    """Of each name that waits in a state of the pool, one row."""
    first: dict[str, Row] = {}
    for row in ROWS:
        # Of a pool that is not open only what opens it waits.
        waits = row.bound != AT_ONCE and (state != "closed" or row.name in OPENING)
        if waits and state in row.states:
            first.setdefault(row.name, row)
    return tuple(first.values())
