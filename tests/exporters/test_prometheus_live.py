"""The scrape of pools on a real server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest

from async_mongo_pool import MongoDBConnectionPool
from async_mongo_pool.exporters import prometheus

from .scraping import samples, value

if TYPE_CHECKING:
    from async_mongo_pool import AsyncMongoDBConnectionPool
    from async_mongo_pool.testing.server import Server

OPERATIONS = 25


def address(mongod: Server) -> str:
    return mongod.uri.partition("://")[2].rpartition("@")[2].partition("/")[0]


def of_pool(registry: CollectorRegistry, pool: Any) -> dict[str, float]:
    """The series of one pool without labels that are the same for all, added up over the rest."""
    found: dict[str, float] = {}
    for (name, labels), number in samples(registry).items():
        if dict(labels)["pool"] == pool.__name__ and "le" not in dict(labels):
            found[name] = found.get(name, 0) + number
    return found


def test_the_counts_of_a_sync_pool_are_in_the_scrape(mongo_sync_pool: type[MongoDBConnectionPool]) -> None:
    registry = CollectorRegistry()
    prometheus.register(registry=registry)
    client: Any = mongo_sync_pool.get_client()
    before = of_pool(registry, mongo_sync_pool)
    for _ in range(OPERATIONS):
        client.admin.command("ping")
    after = of_pool(registry, mongo_sync_pool)
    for name in ("mongo_pool_checkout_wait_seconds_count", "mongo_pool_connection_use_seconds_count"):
        assert after[name] - before[name] == OPERATIONS
    assert after["mongo_pool_connections"] == mongo_sync_pool.snapshot().totals.size
    assert after["mongo_pool_ready"] == 1
    assert after["mongo_pool_drift"] == 0
    assert not [name for name in after if "executor" in name]


async def test_the_queue_of_a_motor_pool_is_in_the_scrape(
    mongo_pool: type[AsyncMongoDBConnectionPool],
) -> None:
    registry = CollectorRegistry()
    prometheus.register(mongo_pool, registry=registry)
    client: Any = mongo_pool.get_client()
    before = of_pool(registry, mongo_pool)
    for _ in range(OPERATIONS):
        await client.admin.command("ping")
    after = of_pool(registry, mongo_pool)
    name = "mongo_pool_executor_wait_seconds_count"
    assert after[name] - before[name] == OPERATIONS
    assert after["mongo_pool_executor_workers"] >= 1
    assert after["mongo_pool_executor_max_workers"] >= after["mongo_pool_executor_workers"]


def test_a_closed_pool_leaves_the_scrape_and_the_other_stays(
    mongo_sync_pool: type[MongoDBConnectionPool], mongodb_uri: str
) -> None:
    registry = CollectorRegistry()
    other = MongoDBConnectionPool.named(f"{mongo_sync_pool.__name__}-other")
    prometheus.register(mongo_sync_pool, other, registry=registry)
    with other.scope(mongodb_uri):
        assert of_pool(registry, other)
    assert not of_pool(registry, other)
    assert of_pool(registry, mongo_sync_pool)
    with other.scope(mongodb_uri):
        assert of_pool(registry, other), "open again, it is back"


def test_an_unlimited_pool_has_no_maximum(mongod: Server, mongodb_uri: str) -> None:
    registry = CollectorRegistry()
    pool = MongoDBConnectionPool.named("exporters-unlimited")
    prometheus.register(pool, registry=registry)
    labels = {"pool": "exporters-unlimited", "server": address(mongod)}
    with pool.scope(mongodb_uri, maxPoolSize=0):
        found = samples(registry)
        assert value(found, "mongo_pool_max_connections", **labels) is None
        assert value(found, "mongo_pool_min_connections", **labels) is not None


def test_opening_and_closing_meanwhile_never_breaks_a_scrape(mongodb_uri: str) -> None:
    registry = CollectorRegistry()
    prometheus.register(registry=registry)
    rounds = 8
    ended = threading.Event()

    def open_and_close() -> None:
        try:
            for number in range(rounds):
                with MongoDBConnectionPool.named(f"exporters-busy-{number % 3}").scope(mongodb_uri) as client:
                    client.admin.command("ping")
        finally:
            ended.set()

    threads = [threading.Thread(target=open_and_close)]
    threads[0].start()
    scrapes = 0
    while not ended.is_set():
        samples(registry)
        generate_latest(registry)
        scrapes += 1
    threads[0].join(10)
    assert scrapes > rounds


def test_commands_and_heartbeats_appear_when_they_are_asked_for(mongodb_uri: str, wait_until: Any) -> None:
    registry = CollectorRegistry()
    pool = MongoDBConnectionPool.named("exporters-opted-in")
    prometheus.register(pool, registry=registry)
    options: dict[str, Any] = {"command_stats": True, "heartbeat_stats": True, "heartbeatFrequencyMS": 500}
    with pool.scope(mongodb_uri, **options) as client:
        for _ in range(OPERATIONS):
            client.admin.command("buildInfo")
        found = samples(registry)
        (pings,) = [
            number
            for (name, labels), number in found.items()
            if name == "mongo_command_duration_seconds_count"
            and {("command", "buildInfo"), ("outcome", "success")} <= labels
        ]
        assert pings >= OPERATIONS
        wait_until(lambda: of_pool(registry, pool).get("mongo_server_heartbeat_seconds_count", 0) >= 1)
