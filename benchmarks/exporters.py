"""What a scrape and a collection cost, for one pool on one server.

The durations are recorded in a real pool's operations, so many between two collections. Only the exporters are
measured: they work on the reader's thread, and nothing of them runs in an operation.

    python -m benchmarks.exporters [--repeats 10] [--operations 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from prometheus_client import CollectorRegistry, generate_latest

from async_mongo_pool import MongoDBConnectionPool
from async_mongo_pool.exporters import opentelemetry, prometheus
from async_mongo_pool.exporters.opentelemetry_histograms import HistogramExporter
from async_mongo_pool.testing import Mongod

from .table import show, surroundings

if TYPE_CHECKING:
    from collections.abc import Callable


class Nowhere(MetricExporter):
    def export(self, *_: Any, **__: Any) -> MetricExportResult:
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        pass


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


def measure(client: Any, repeats: int, operations: int) -> dict[str, list[float]]:
    registry = CollectorRegistry()
    prometheus.register(registry=registry)
    recording = InMemoryMetricReader()
    opentelemetry.instrument(meter_provider=MeterProvider([recording], shutdown_on_exit=False))
    exporting = PeriodicExportingMetricReader(HistogramExporter(Nowhere()), export_interval_millis=float("inf"))
    provider = MeterProvider([exporting], shutdown_on_exit=False)
    opentelemetry.instrument(meter_provider=provider, histograms="exported")
    cases: dict[str, Callable[[], object]] = {
        "Prometheus: a scrape": lambda: generate_latest(registry),
        "OpenTelemetry: recorded": recording.get_metrics_data,
        "OpenTelemetry: recorded, nothing was added": recording.get_metrics_data,
        "OpenTelemetry: exported": provider.force_flush,
    }
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for _ in range(operations):
            client.admin.command("ping")
        for name, call in cases.items():
            taken[name].append(timed(call))
    provider.shutdown()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description="What a scrape and a collection cost.")
    parser.add_argument("--repeats", type=int, default=10, help="collections of each kind (default: 10)")
    parser.add_argument("--operations", type=int, default=2000, help="operations between them (default: 2000)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    with Mongod() as mongod, MongoDBConnectionPool.scope(mongod.uri) as client:
        taken = measure(client, arguments.repeats, arguments.operations)
    cases = [
        {"name": name, "median_ms": statistics.median(each), "max_ms": max(each)} for name, each in taken.items()
    ]
    # Each operation gives three durations: the wait in the driver, the wait in all, and the use.
    added, nothing = (
        statistics.median(taken[f"OpenTelemetry: recorded{end}"]) for end in ("", ", nothing was added")
    )
    each = (added - nothing) * 1e3 / (3 * arguments.operations)
    cases.append({"name": "of which for each duration", "median_ms": each / 1e3, "max_ms": each / 1e3})
    rows = [(str(case["name"]), f"{case['median_ms']:.3f}", f"{case['max_ms']:.3f}") for case in cases]
    title = f"Milliseconds, with {arguments.operations} operations between two collections"
    show(title, ("what", "median", "max"), rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"surroundings": surroundings(), "cases": cases}, indent=2))


if __name__ == "__main__":
    main()
