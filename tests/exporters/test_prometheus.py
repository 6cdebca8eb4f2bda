"""The mapping to Prometheus, from snapshots made by hand to what Prometheus' own parser reads."""

from __future__ import annotations

import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, Gauge

from async_mongo_pool.distribution import BOUNDS
from async_mongo_pool.exporters import prometheus
from async_mongo_pool.exporters.prometheus_series import families as known_families
from async_mongo_pool.exporters.table import METRICS

from .scraping import families, samples, value
from .snapshots import ADDRESS, distribution, pool_of, server, snapshot

if TYPE_CHECKING:
    from async_mongo_pool.exporters.prometheus_series import Naming

HERE = {"pool": "orders", "server": ADDRESS}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_row_of_the_table_is_in_the_scrape(registry: CollectorRegistry, openmetrics: bool) -> None:
    prometheus.register(orders := pool_of(snapshot()), registry=registry)
    found = families(registry, openmetrics=openmetrics)
    expected = {row.prometheus: row for row in METRICS if row.prometheus is not None}
    assert set(found) == set(expected)
    for name, row in expected.items():
        assert found[name].type == row.kind
        assert found[name].documentation == row.summary
    assert orders.now.pool == "orders"


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_values_are_those_of_the_snapshot(registry: CollectorRegistry, openmetrics: bool) -> None:
    prometheus.register(orders := pool_of(snapshot()), registry=registry)
    found = samples(registry, openmetrics=openmetrics)
    alone = {"pool": "orders"}
    for name, labels, expected in [
        ("mongo_pool_connections", {**HERE, "state": "used"}, 3),
        ("mongo_pool_connections", {**HERE, "state": "idle"}, 2),
        ("mongo_pool_connections", {**HERE, "state": "connecting"}, 1),
        ("mongo_pool_max_connections", HERE, 10),
        ("mongo_pool_min_connections", HERE, 2),
        ("mongo_pool_pending_requests", HERE, 4),
        ("mongo_pool_oldest_use_seconds", HERE, 1.5),
        ("mongo_pool_ready", HERE, 1),
        ("mongo_pool_checkout_failures_total", {**HERE, "reason": "timeout"}, 7),
        ("mongo_pool_checkouts_abandoned_total", HERE, 5),
        ("mongo_pool_connections_created_total", HERE, 9),
        ("mongo_pool_connections_closed_total", {**HERE, "reason": "stale"}, 1),
        ("mongo_pool_clears_total", HERE, 1),
        ("mongo_pool_slow_checkouts_total", HERE, 2),
        ("mongo_pool_events_missed_total", HERE, 3),
        ("mongo_pool_replacements_total", alone, 1),
        ("mongo_pool_retry_operations_total", alone, 8),
        ("mongo_pool_retries_total", alone, 3),
        ("mongo_pool_retries_recovered_total", alone, 1),
        ("mongo_pool_retries_given_up_total", {**alone, "reason": "deadline"}, 2),
        ("mongo_pool_retry_abandoned_total", alone, 4),
        ("mongo_pool_retry_budget", alone, 9.5),
        ("mongo_pool_drift", alone, 0),
        ("mongo_pool_executor_pending", alone, 6),
        ("mongo_pool_executor_workers", alone, 10),
        ("mongo_pool_executor_max_workers", alone, 10),
        ("mongo_pool_executor_busy", alone, 8),
        ("mongo_pool_executor_streaming", alone, 1),
        ("mongo_pool_executor_abandoned_total", alone, 2),
        ("mongo_pool_executor_refused_total", {**alone, "reason": "full"}, 2),
        ("mongo_pool_executor_wait_seconds_count", alone, 1),
        ("mongo_pool_wait_seconds_count", alone, 2),
        ("mongo_server_heartbeat_seconds_count", HERE, 1),
    ]:
        assert value(found, name, **labels) == expected, (name, labels)
    assert orders


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count(registry: CollectorRegistry) -> None:
    prometheus.register(orders := pool_of(snapshot()), registry=registry)
    found = samples(registry)
    name = "mongo_pool_checkout_wait_seconds"
    bounds = (*map(str, BOUNDS), "+Inf")
    reached = [value(found, f"{name}_bucket", **HERE, le=bound) for bound in bounds]
    assert reached == [1, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4]
    assert value(found, f"{name}_count", **HERE) == 4
    assert value(found, f"{name}_sum", **HERE) == pytest.approx(20.00145)
    assert orders


def test_commands_are_added_up_over_databases_and_errors(registry: CollectorRegistry) -> None:
    prometheus.register(orders := pool_of(snapshot()), registry=registry)
    found = samples(registry)
    name = "mongo_command_duration_seconds"
    assert value(found, f"{name}_count", **HERE, command="find", outcome="success") == 2
    assert value(found, f"{name}_sum", **HERE, command="find", outcome="success") == pytest.approx(0.0202)
    assert value(found, f"{name}_count", **HERE, command="find", outcome="failure") == 1
    assert orders


def test_what_does_not_apply_is_absent(registry: CollectorRegistry) -> None:
    plain = server(max_size=None, heartbeat=snapshot().totals.heartbeat)
    prometheus.register(
        orders := pool_of(snapshot("orders", plain, executor=None, commands={})), registry=registry
    )
    names = set(families(registry))
    assert "mongo_pool_connections" in names
    assert not {name for name in names if re.search("max_connections|executor|command|heartbeat", name)}
    assert orders


def test_a_server_that_left_takes_its_capacity_along_and_leaves_its_counts(registry: CollectorRegistry) -> None:
    prometheus.register(orders := pool_of(snapshot("orders", server(state="closed"))), registry=registry)
    found = samples(registry)
    assert value(found, "mongo_pool_max_connections", **HERE) is None
    assert value(found, "mongo_pool_ready", **HERE) == 0
    assert value(found, "mongo_pool_connections_created_total", **HERE) == 9
    assert orders


@pytest.mark.parametrize("naming", ["mongo_pool", "otel"])
@pytest.mark.parametrize("prefix", ["mongo_pool", "shop"])
def test_the_names_follow_the_rules_of_prometheus(naming: Naming, prefix: str) -> None:
    known = known_families(prefix, naming)
    assert len({family.name for family in known}) == len(known)
    for family in known:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", family.name)
        assert not re.search(r"_(total|bucket|sum|info|by_.*|ms|millis|milliseconds)$", family.name)
        assert naming == "otel" or not re.search("state|reason|outcome|count$", family.name)
        assert len(set(family.labels)) == len(family.labels)
        if family.metric.unit == "s":
            assert family.name.endswith("_seconds")
        if naming == "mongo_pool":
            assert family.name.startswith(prefix if prefix == "shop" else "mongo_")


@pytest.mark.parametrize("naming", ["mongo_pool", "otel"])
def test_another_prefix_or_naming_gives_a_scrape_that_parses(registry: CollectorRegistry, naming: Naming) -> None:
    prometheus.register(orders := pool_of(snapshot()), registry=registry, prefix="shop", naming=naming)
    found = samples(registry)
    if naming == "otel":
        here = {
            "db_client_connection_pool_name": f"orders@{ADDRESS}",
            "db_system_name": "mongodb",
            "server_address": "db.example",
            "server_port": "27017",
        }
        assert value(found, "db_client_connection_count", **here, db_client_connection_state="used") == 3
        assert value(found, "db_client_connection_timeouts_total", **here) == 7
        assert value(found, "db_client_connection_wait_time_seconds_count", **here) == 4
        assert value(found, "mongodb_client_connection_pool_ready", **here) == 1
    else:
        assert value(found, "shop_connections", **HERE, state="used") == 3
        assert value(found, "shop_command_duration_seconds_count", **HERE, command="find", outcome="failure") == 1
    assert orders


def test_registering_again_adds_pools_and_no_series_appears_twice(registry: CollectorRegistry) -> None:
    orders, events = pool_of(snapshot("orders")), pool_of(snapshot("events"))
    collector = prometheus.register(orders, registry=registry)
    assert prometheus.register(orders, events, registry=registry) is collector
    labels = {dict(key[1])["pool"] for key in samples(registry)}
    assert labels == {"orders", "events"}


def test_two_pools_of_one_name_have_labels_of_their_own(registry: CollectorRegistry) -> None:
    first, second = pool_of(snapshot("twin")), pool_of(snapshot("twin"))
    prometheus.register(first, second, registry=registry)
    assert {dict(key[1])["pool"] for key in samples(registry)} == {"twin", "twin-2"}
    first.now = snapshot("twin", status="not_initialized")
    assert {dict(key[1])["pool"] for key in samples(registry)} == {"twin-2"}, "a pool keeps its label"


def test_a_registry_refuses_a_second_collector_of_the_same_names(registry: CollectorRegistry) -> None:
    prometheus.register(registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(prometheus.PoolCollector())
    other = CollectorRegistry()
    Gauge("mongo_pool_ready", "somebody else's", registry=other)
    with pytest.raises(ValueError, match="Duplicated"):
        prometheus.register(registry=other)


def test_another_prefix_in_the_same_registry_is_refused(registry: CollectorRegistry) -> None:
    prometheus.register(registry=registry)
    with pytest.raises(ValueError, match="unregister"):
        prometheus.register(registry=registry, prefix="shop")
    prometheus.unregister(registry)
    prometheus.register(registry=registry, prefix="shop")


def test_a_collector_taken_out_by_hand_can_be_registered_again(registry: CollectorRegistry) -> None:
    orders = pool_of(snapshot())
    registry.unregister(prometheus.register(orders, registry=registry))
    prometheus.register(orders, registry=registry)
    assert "mongo_pool_ready" in families(registry)
    prometheus.unregister(registry)
    prometheus.unregister(registry)
    assert not families(registry)


def test_a_broken_pool_is_left_out_and_told_of_once(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = pool_of(snapshot("broken")), pool_of(snapshot("sound"))
    broken.now = RuntimeError("no snapshot today")
    prometheus.register(broken, sound, registry=registry)
    for _ in range(2):
        assert {dict(key[1])["pool"] for key in samples(registry)} == {"sound"}
    assert len([record for record in caplog.records if "its snapshot failed" in record.message]) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"prefix": "9lives"}, ValueError),
        ({"prefix": "mongo-pool"}, ValueError),
        ({"naming": "statsd"}, ValueError),
    ],
)
def test_a_name_that_prometheus_would_not_take_is_refused(
    registry: CollectorRegistry, arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        prometheus.register(registry=registry, **arguments)


def test_what_is_not_a_pool_is_refused(registry: CollectorRegistry) -> None:
    with pytest.raises(TypeError, match="not a pool"):
        prometheus.register(object, registry=registry)
    assert not families(registry)


def test_the_instance_of_a_pool_stands_for_it(registry: CollectorRegistry) -> None:
    orders = pool_of(snapshot())
    prometheus.register(orders(), registry=registry)
    assert "mongo_pool_ready" in families(registry)


def test_registering_where_only_files_are_scraped_is_warned_of(
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere")
    with caplog.at_level(logging.WARNING, "async_mongo_pool"):
        prometheus.register(registry=registry)
    assert "multiprocess.start()" in caplog.text


def test_files_without_a_directory_are_refused() -> None:
    with pytest.raises(RuntimeError, match="PROMETHEUS_MULTIPROC_DIR"):
        prometheus.multiprocess.start()
    prometheus.multiprocess.flush()
    prometheus.multiprocess.stop()


def test_a_count_that_is_corrected_never_falls(registry: CollectorRegistry) -> None:
    prometheus.register(orders := pool_of(snapshot()), registry=registry)
    before = samples(registry)
    corrected = server(connections_created=7, used=1, checkout_wait=distribution(20.0, 20.0))
    orders.now = snapshot("orders", corrected, opened_at=orders.now.opened_at)
    found = samples(registry)
    assert value(found, "mongo_pool_connections", **HERE, state="used") == 1, "a gauge may"
    assert value(found, "mongo_pool_connections_created_total", **HERE) == 9
    for (name, labels), count in before.items():
        if name.endswith(("_bucket", "_count", "_sum", "_total")):
            assert found[name, labels] >= count, (name, labels)
    assert value(found, "mongo_pool_checkout_wait_seconds_count", **HERE) == 4
    orders.now = snapshot("orders", corrected)
    assert value(samples(registry), "mongo_pool_connections_created_total", **HERE) == 7, "of another client"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_counts_from_zero_and_meets_no_lock(registry: CollectorRegistry) -> None:
    collector = prometheus.register(orders := pool_of(snapshot()), registry=registry)
    name = "mongo_pool_replacements_total"
    assert value(samples(registry), name, pool="orders") == 1
    with collector._collecting:  # as another thread may hold it at a fork
        child = os.fork()
        if child == 0:
            code = 2
            try:
                orders.now = snapshot(replacements=0)
                threading.Timer(20, os._exit, [3]).start()
                code = int(value(samples(registry), name, pool="orders") != 0)
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
