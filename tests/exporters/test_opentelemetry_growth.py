"""What OpenTelemetry is told when counts are corrected, when there are too many, and in a child process."""

from __future__ import annotations

import os
import threading

import pytest

from async_mongo_pool.exporters import opentelemetry
from async_mongo_pool.exporters.table import METRICS

from .snapshots import ADDRESS, distribution, pool_of, server, snapshot
from .test_opentelemetry import HERE, WAIT, Readings, deltas, point, readings

__all__ = ["deltas", "readings"]


def test_counts_that_are_corrected_never_fall(readings: Readings, deltas: Readings) -> None:
    orders = pool_of(snapshot())
    for each in (readings, deltas):
        opentelemetry.instrument(orders, meter_provider=each.provider)
        each.collect()
    corrected = server(connections_created=7, checkout_wait=distribution(0.0007, 20.0))
    orders.now = snapshot("orders", corrected, opened_at=orders.now.opened_at)
    for each, created, waits in ((readings, 9, 4), (deltas, 0, 0)):
        found = each.collect()
        assert point(found, "mongodb.client.connection.created", HERE).value == created
        assert sum(each.count for each in (found[WAIT].data.data_points if WAIT in found else ())) == waits


def test_what_one_collection_leaves_the_next_one_records(
    readings: Readings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opentelemetry, "MANY_DURATIONS", 7)
    orders = pool_of(snapshot())
    opentelemetry.instrument(orders, meter_provider=readings.provider)

    def recorded() -> int:
        found = readings.collect()
        assert found["db.client.connection.max"].data.data_points
        histograms = [found[row.otel] for row in METRICS if row.instrument == "histogram" and row.otel in found]
        return sum(point.count for histogram in histograms for point in histogram.data.data_points)

    counts = [recorded() for _ in range(4)]
    assert counts == [7, 14, 14, 14]
    waits = readings.point(WAIT, HERE)
    assert tuple(waits.bucket_counts) == orders.now.servers[ADDRESS].checkout_wait.buckets
    assert len([each for each in caplog.records if "durations" in each.message]) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_counts_from_zero_and_meets_no_lock(readings: Readings) -> None:
    orders = pool_of(snapshot())
    opentelemetry.instrument(orders, meter_provider=readings.provider)
    assert readings.point("mongodb.client.connection.created", HERE).value == 9
    with opentelemetry._sources[readings.provider]._lock:  # as another thread may hold it at a fork
        child = os.fork()
        if child == 0:
            code = 2
            try:
                orders.now = snapshot("orders", server(connections_created=2))
                threading.Timer(20, os._exit, [3]).start()
                code = int(readings.point("mongodb.client.connection.created", HERE).value != 2)
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
