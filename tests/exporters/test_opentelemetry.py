"""The mapping to OpenTelemetry, seen by an in-memory reader."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.metrics import Counter, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
    Sum,
)

from async_mongo_pool.distribution import BOUNDS
from async_mongo_pool.exporters import opentelemetry
from async_mongo_pool.exporters.opentelemetry_histograms import HistogramExporter
from async_mongo_pool.exporters.table import METRICS, OPERATION_BOUNDS

from .snapshots import ADDRESS, distribution, pool_of, server, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool

HERE = {
    "db.client.connection.pool.name": f"orders@{ADDRESS}",
    "db.system.name": "mongodb",
    "server.address": "db.example",
    "server.port": 27017,
}
POOL = {"db.client.connection.pool.name": "orders", "db.system.name": "mongodb"}
WAIT = "db.client.connection.wait_time"
COUNTERS: tuple[type, ...] = (Counter, ObservableCounter, HistogramInstrument)
DELTA = dict.fromkeys(COUNTERS, AggregationTemporality.DELTA)


class Memory(MetricExporter):
    """An exporter that keeps what it gets."""

    def __init__(self, temporality: Any = None) -> None:
        super().__init__(temporality)
        self.exported: list[MetricsData] = []

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        self.exported.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self.exported.append(MetricsData(resource_metrics=[]))


class Readings:
    """A provider with a reader."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self.reader = reader
        self.provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)

    def collect(self) -> dict[str, Any]:
        return by_name(self.reader.get_metrics_data())

    def point(self, name: str, attributes: Mapping[str, Any]) -> Any:
        return point(self.collect(), name, attributes)


def by_name(data: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            assert scope.scope.name == "async_mongo_pool"
            for metric in scope.metrics:
                assert metric.name not in found, "a metric appears twice"
                found[metric.name] = metric
    return found


def point(found: Any, name: str, attributes: Mapping[str, Any]) -> Any:
    points = [each for each in found[name].data.data_points if each.attributes == attributes]
    assert len(points) == 1, (name, [each.attributes for each in found[name].data.data_points])
    return points[0]


@pytest.fixture
def readings() -> Iterator[Readings]:
    made = Readings(InMemoryMetricReader())
    yield made
    made.provider.shutdown()


@pytest.fixture
def deltas() -> Iterator[Readings]:
    made = Readings(InMemoryMetricReader(preferred_temporality=DELTA))
    yield made
    made.provider.shutdown()


def test_every_row_of_the_table_is_collected_with_its_unit_and_attributes(readings: Readings) -> None:
    orders = pool_of(snapshot())
    opentelemetry.instrument(orders, meter_provider=readings.provider)
    found = readings.collect()
    assert set(found) == {row.otel for row in METRICS}
    for row in METRICS:
        metric = found[row.otel]
        assert (metric.unit, metric.description) == (row.unit, row.summary)
        shape: Any = {"histogram": Histogram, "gauge": Gauge}.get(row.instrument, Sum)
        assert isinstance(metric.data, shape)
        if isinstance(metric.data, Sum):
            assert metric.data.is_monotonic is (row.instrument == "counter")
        if isinstance(metric.data, Histogram):
            assert {tuple(each.explicit_bounds) for each in metric.data.data_points} == {row.bounds}
        for each in metric.data.data_points:
            base = HERE if "server.address" in each.attributes else POOL
            own = {name: value for name, value in each.attributes.items() if name not in base}
            assert each.attributes == {**base, **own}
            assert set(own) <= {label.otel for label in row.labels}


def test_the_values_are_those_of_the_snapshot(readings: Readings) -> None:
    orders = pool_of(snapshot())
    opentelemetry.instrument(orders, meter_provider=readings.provider)
    found = readings.collect()
    expectations: list[tuple[str, Mapping[str, Any], int]] = [
        ("db.client.connection.count", {**HERE, "db.client.connection.state": "used"}, 3),
        ("db.client.connection.count", {**HERE, "db.client.connection.state": "connecting"}, 1),
        ("db.client.connection.max", HERE, 10),
        ("db.client.connection.pending_requests", HERE, 4),
        ("db.client.connection.timeouts", HERE, 7),
        ("mongodb.client.connection.checkout.failures", {**HERE, "error.type": "connection_error"}, 1),
        ("mongodb.client.connection.checkout.abandoned", HERE, 5),
        ("mongodb.client.connection.created", HERE, 9),
        ("mongodb.client.connection.closed", {**HERE, "mongodb.client.connection.close.reason": "stale"}, 1),
        ("mongodb.client.connection.pool.ready", HERE, 1),
        ("mongodb.client.executor.pending_requests", POOL, 6),
        ("mongodb.client.executor.refused", {**POOL, "error.type": "full"}, 2),
        ("mongodb.client.replacements", POOL, 1),
        ("mongodb.client.retry.given_up", {**POOL, "error.type": "deadline"}, 2),
    ]
    for name, attributes, expected in expectations:
        assert point(found, name, attributes).value == expected, (name, attributes)
    operations = {**HERE, "db.operation.name": "find", "db.namespace": "shop"}
    assert point(found, "db.client.operation.duration", operations).count == 1
    assert point(found, "db.client.operation.duration", {**operations, "error.type": "50"}).count == 1
    assert orders


def test_a_recorded_histogram_has_our_buckets_and_our_sum(readings: Readings) -> None:
    orders = pool_of(snapshot())
    opentelemetry.instrument(orders, meter_provider=readings.provider)
    ours = orders.now.servers[ADDRESS].checkout_wait
    for _ in range(2):
        waits = readings.point(WAIT, HERE)
        assert tuple(waits.bucket_counts) == ours.buckets
        assert waits.sum == pytest.approx(ours.sum_seconds, rel=1e-12)
        assert waits.max <= ours.max_seconds


def test_counts_never_fall_when_the_pool_has_another_client(readings: Readings, deltas: Readings) -> None:
    orders = pool_of(snapshot())
    for each in (readings, deltas):
        opentelemetry.instrument(orders, meter_provider=each.provider)
        assert each.point("mongodb.client.connection.created", HERE).value == 9
    orders.now = snapshot("orders", server(connections_created=2), replacements=2)
    for each, expected, replaced in ((readings, 11, 2), (deltas, 2, 1)):
        found = each.collect()
        assert point(found, "mongodb.client.connection.created", HERE).value == expected
        assert point(found, "mongodb.client.replacements", POOL).value == replaced


def test_one_snapshot_serves_a_whole_collection(readings: Readings) -> None:
    taken = []
    orders = pool_of(snapshot())

    def counted(cls: Any) -> Any:
        taken.append(cls)
        return cls.now

    orders.snapshot = classmethod(counted)
    opentelemetry.instrument(orders, meter_provider=readings.provider)
    for number in (1, 2, 3):
        readings.collect()
        assert len(taken) == number


def test_a_closed_pool_leaves_and_the_other_stays(readings: Readings) -> None:
    orders, events = pool_of(snapshot("orders")), pool_of(snapshot("events"))
    opentelemetry.instrument(orders, events, meter_provider=readings.provider)
    assert len(readings.collect()["db.client.connection.max"].data.data_points) == 2
    events.now = snapshot("events", status="not_initialized")
    found = readings.collect()
    for row in METRICS:
        if row.instrument != "histogram":
            names = {
                each.attributes["db.client.connection.pool.name"] for each in found[row.otel].data.data_points
            }
            assert names <= {"orders", f"orders@{ADDRESS}"}, row.otel


def test_uninstrument_ends_it_and_instrument_begins_again_with_the_same_instruments(
    readings: Readings, caplog: pytest.LogCaptureFixture
) -> None:
    orders = pool_of(snapshot())
    with opentelemetry.instrument(orders, meter_provider=readings.provider):
        assert "db.client.connection.max" in readings.collect()
    assert "db.client.connection.max" not in readings.collect()
    again = opentelemetry.instrument(orders, meter_provider=readings.provider)
    assert readings.point("mongodb.client.connection.created", HERE).value == 9
    again.uninstrument()
    again.uninstrument()
    assert not caplog.records, "the SDK warns of instruments that are made twice"


def test_pools_instrumented_twice_are_counted_once(readings: Readings) -> None:
    orders = pool_of(snapshot())
    opentelemetry.instrument(orders, meter_provider=readings.provider)
    second = opentelemetry.instrument(orders, meter_provider=readings.provider)
    assert readings.point("db.client.connection.max", HERE).value == 10
    second.uninstrument()
    assert readings.point("db.client.connection.max", HERE).value == 10


def test_a_broken_pool_is_skipped(readings: Readings) -> None:
    broken, orders = pool_of(snapshot("broken")), pool_of(snapshot("orders"))
    broken.now = RuntimeError("no snapshot today")
    opentelemetry.instrument(broken, orders, meter_provider=readings.provider)
    assert len(readings.collect()["db.client.connection.max"].data.data_points) == 1


def test_a_callback_never_raises(readings: Readings, caplog: pytest.LogCaptureFixture) -> None:
    orders = pool_of(snapshot("orders", server(checkout_failures={})))
    opentelemetry.instrument(orders, meter_provider=readings.provider)
    readings.collect()
    readings.collect()
    assert [each.message for each in caplog.records] == ["the pools' metrics cannot be collected"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("[::1]:27018", {"server.address": "::1", "server.port": 27018}),
        ("/run/mongodb-27017.sock", {"server.address": "/run/mongodb-27017.sock"}),
    ],
)
def test_addresses_are_taken_apart(readings: Readings, address: str, expected: dict[str, Any]) -> None:
    orders = pool_of(snapshot("orders", server(address)))
    opentelemetry.instrument(orders, meter_provider=readings.provider)
    common = {"db.client.connection.pool.name": f"orders@{address}", "db.system.name": "mongodb"}
    assert readings.point("db.client.connection.max", {**common, **expected}).value == 10


def test_bad_arguments_are_refused(readings: Readings) -> None:
    with pytest.raises(ValueError, match="histograms"):
        opentelemetry.instrument(meter_provider=readings.provider, histograms="summed")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not a pool"):
        opentelemetry.instrument(object, meter_provider=readings.provider)
    orders = pool_of(snapshot())
    first = opentelemetry.instrument(orders, meter_provider=readings.provider)
    with pytest.raises(ValueError, match="recorded"):
        opentelemetry.instrument(orders, meter_provider=readings.provider, histograms="exported")
    first.uninstrument()
    with pytest.raises(ValueError, match="another meter provider"):
        opentelemetry.instrument(orders, meter_provider=readings.provider, histograms="exported")
    opentelemetry.instrument(orders, meter_provider=readings.provider)


def exporting(pool: Any, temporality: Any = None, histograms: Any = "exported") -> tuple[Memory, Any]:
    memory = Memory(temporality)
    reader = PeriodicExportingMetricReader(HistogramExporter(memory, pool), export_interval_millis=float("inf"))
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    opentelemetry.instrument(pool, meter_provider=provider, histograms=histograms)
    return memory, provider


def test_exported_histograms_are_our_buckets() -> None:
    orders = pool_of(snapshot())
    memory, provider = exporting(orders)
    provider.force_flush()
    waits = distribution(0.00005, 0.0007, 0.0007, 20.0, 0.3, 0.3)
    orders.now = snapshot("orders", server(checkout_wait=waits), opened_at=orders.now.opened_at)
    provider.force_flush()
    orders.now = snapshot("orders", server(checkout_wait=distribution(0.3)), opened_at=orders.now.opened_at)
    provider.force_flush()
    found = by_name(memory.exported[0])
    assert set(found) == {row.otel for row in METRICS}
    first, second = point(found, WAIT, HERE), point(by_name(memory.exported[1]), WAIT, HERE)
    assert tuple(first.bucket_counts) == distribution(0.00005, 0.0007, 0.0007, 20.0).buckets
    assert (first.count, first.max, tuple(first.explicit_bounds)) == (4, 20.0, BOUNDS)
    assert first.sum == pytest.approx(20.00145)
    assert found[WAIT].data.aggregation_temporality is AggregationTemporality.CUMULATIVE
    assert (second.count, second.min, second.max) == (6, 0.0, 20.0)
    assert point(by_name(memory.exported[2]), WAIT, HERE).count == 6, "what was exported stays"
    assert second.start_time_unix_nano == first.start_time_unix_nano < first.time_unix_nano
    operations = {**HERE, "db.operation.name": "find", "db.namespace": "shop"}
    duration = point(found, "db.client.operation.duration", operations)
    assert tuple(duration.explicit_bounds) == OPERATION_BOUNDS
    assert list(duration.bucket_counts) == [1, *[0] * len(OPERATION_BOUNDS)]
    provider.shutdown()
    assert memory.exported[-1].resource_metrics == [], "the wrapped exporter is shut down too"


def test_exported_histograms_may_be_deltas() -> None:
    orders = pool_of(snapshot())
    memory, provider = exporting(orders, DELTA)
    provider.force_flush()
    waits = distribution(0.00005, 0.0007, 0.0007, 20.0, 0.3)
    orders.now = snapshot("orders", server(checkout_wait=waits), opened_at=orders.now.opened_at)
    provider.force_flush()
    provider.force_flush()
    first, second, third = (by_name(each) for each in memory.exported)
    assert second[WAIT].data.aggregation_temporality is AggregationTemporality.DELTA
    before, after = point(first, WAIT, HERE), point(second, WAIT, HERE)
    assert (before.count, after.count) == (4, 1)
    assert after.sum == pytest.approx(0.3)
    assert after.max == 0.5, "which one was the longest of all is known, but not whether it was this one"
    assert after.start_time_unix_nano == before.time_unix_nano
    assert WAIT not in third, "nothing was added"
    provider.shutdown()


def test_what_is_recorded_is_not_exported_a_second_time() -> None:
    orders = pool_of(snapshot())
    memory, provider = exporting(orders, histograms="recorded")
    provider.force_flush()
    assert set(by_name(memory.exported[0])) == {row.otel for row in METRICS}
    provider.shutdown()


@pytest.mark.parametrize("histograms", ["recorded", "exported"])
def test_the_counts_of_a_real_pool_are_collected(
    mongo_sync_pool: type[MongoDBConnectionPool], histograms: Any
) -> None:
    memory, provider = exporting(mongo_sync_pool, histograms=histograms)
    client: Any = mongo_sync_pool.get_client()
    for _ in range(25):
        client.admin.command("ping")
    totals = mongo_sync_pool.snapshot().totals
    provider.force_flush()
    found = by_name(memory.exported[0])
    (waits,) = found[WAIT].data.data_points
    assert waits.count == totals.checkouts >= 25
    assert tuple(waits.bucket_counts) == totals.checkout_wait.buckets
    assert waits.sum == pytest.approx(totals.checkout_wait.sum_seconds)
    assert sum(each.value for each in found["db.client.connection.count"].data.data_points) == totals.size
    provider.shutdown()


async def test_the_queue_of_a_motor_pool_is_collected(
    mongo_pool: type[AsyncMongoDBConnectionPool], readings: Readings
) -> None:
    opentelemetry.instrument(mongo_pool, meter_provider=readings.provider)
    client: Any = mongo_pool.get_client()
    for _ in range(25):
        await client.admin.command("ping")
    found = readings.collect()
    (waits,) = found["mongodb.client.executor.wait_time"].data.data_points
    assert waits.count >= 25


def test_a_pool_that_closes_leaves_the_collection(
    mongo_sync_pool: type[MongoDBConnectionPool], readings: Readings
) -> None:
    opentelemetry.instrument(mongo_sync_pool, meter_provider=readings.provider)
    assert "db.client.connection.max" in readings.collect()
    mongo_sync_pool.close()
    assert "db.client.connection.max" not in readings.collect()


def test_the_global_provider_may_be_set_later() -> None:
    code = (
        "from opentelemetry.metrics import set_meter_provider\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from opentelemetry.sdk.metrics.export import InMemoryMetricReader\n"
        "from async_mongo_pool.exporters import opentelemetry\n"
        "from tests.exporters.snapshots import pool_of, snapshot\n"
        "from tests.exporters.test_opentelemetry import by_name\n"
        "orders = pool_of(snapshot())\n"
        "opentelemetry.instrument(orders)\n"
        "reader = InMemoryMetricReader()\n"
        "set_meter_provider(MeterProvider([reader]))\n"
        "opentelemetry.instrument(orders)\n"
        "(point,) = by_name(reader.get_metrics_data())['db.client.connection.max'].data.data_points\n"
        "print(point.value)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (said.stdout.strip(), said.stderr) == ("10", "")
