"""Histograms for OpenTelemetry at a constant cost: our own buckets, put beside what the SDK exports.

Needs ``opentelemetry-sdk``, which an application that exports has.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from async_mongo_pool._version import __version__
from async_mongo_pool.distribution import BOUNDS, Distribution

from .attributes import attributes
from .growth import Growth
from .missing import needs
from .opentelemetry import METER
from .pools import Pool, Selection, open_snapshots
from .table import METRICS

with needs("opentelemetry.sdk.metrics", "opentelemetry-sdk"):
    from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Histogram,
        HistogramDataPoint,
        MetricExporter,
        MetricExportResult,
        MetricsData,
        ResourceMetrics,
        ScopeMetrics,
    )
    from opentelemetry.sdk.metrics.export import (
        Metric as ExportedMetric,
    )
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

if TYPE_CHECKING:
    from async_mongo_pool.stats import PoolSnapshot

    from .metric import Metric

__all__ = ["HistogramExporter"]

logger = logging.getLogger("async_mongo_pool")

_HISTOGRAMS = tuple(metric for metric in METRICS if metric.instrument == "histogram")
_SECOND = 1_000_000_000


class HistogramExporter(MetricExporter):
    """Wraps an exporter and adds the pools' histograms to each export; for many operations per second.

    Use it with ``instrument(histograms="exported")``. Temporality is what the wrapped exporter prefers. The
    smallest duration is not known: the lower bound of its bucket is exported as the minimum.

    Args:
        exporter: Where the metrics go.
        *pools: Only these; none stands for all pools of this process.

    Raises:
        TypeError: Something given is not a pool.
    """

    def __init__(self, exporter: MetricExporter, *pools: Pool) -> None:
        # A reader asks its exporter for these two by these names.
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._selection = Selection()
        self._selection.add(pools)
        self._growth = Growth()
        self._exported_at: dict[Any, int] = {}
        self._complained = False
        # Fixed here, so that a client's start stays the same in every export.
        self._monotonic_zero = time.time_ns() - time.monotonic_ns()
        preferred = exporter._preferred_temporality or {}
        self._temporality = preferred.get(HistogramInstrument, AggregationTemporality.CUMULATIVE)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Export what the SDK collected, and the pools' histograms."""
        try:
            metrics_data = self._with_histograms(metrics_data)
        except Exception:
            if not self._complained:
                self._complained = True
                logger.warning("the pools' histograms cannot be exported", exc_info=True)
        return self._exporter.export(metrics_data, timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Let the wrapped exporter send what it holds."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut the wrapped exporter down."""
        self._exporter.shutdown(timeout_millis, **kwargs)

    def _with_histograms(self, data: MetricsData) -> MetricsData:
        if not data.resource_metrics:
            return data
        first, *others = data.resource_metrics
        recorded = {
            metric.name
            for scope in first.scope_metrics
            if scope.scope.name == METER
            for metric in scope.metrics
            if isinstance(metric.data, Histogram)
        }
        # Where instrument() records them too, they must not be counted twice.
        ours = [metric for metric in self._histograms() if metric.name not in recorded]
        if not ours:
            return data
        return MetricsData(resource_metrics=[_added(first, ours), *others])

    def _histograms(self) -> list[ExportedMetric]:
        now = time.time_ns()
        snapshots = open_snapshots(self._selection.pools())
        made = []
        for metric in _HISTOGRAMS:
            points = [
                point
                for pool, snapshot in snapshots
                for labels, value in metric.read(snapshot)
                if isinstance(value, Distribution)
                and (point := self._point(metric, pool, snapshot, labels, value, now)) is not None
            ]
            if points:
                data = Histogram(data_points=points, aggregation_temporality=self._temporality)
                made.append(
                    ExportedMetric(name=metric.otel, description=metric.summary, unit=metric.unit, data=data)
                )
        return made

    def _point(
        self,
        metric: Metric,
        pool: str,
        snapshot: PoolSnapshot,
        labels: tuple[str | None, ...],
        value: Distribution,
        now: int,
    ) -> HistogramDataPoint | None:
        start = self._monotonic_zero + int(snapshot.opened_at * _SECOND)
        series = (pool, metric.otel, labels)
        if self._temporality is AggregationTemporality.DELTA:
            told = self._growth.of(series, snapshot.opened_at, value)
            start = max(start, self._exported_at.get(series, 0))
            self._exported_at[series] = now
        else:
            told = self._growth.level(series, snapshot.opened_at, value)
        if not isinstance(told, Distribution) or not told.count:
            return None
        value = told
        buckets = _rebucketed(value, metric.bounds)
        shortest, longest = _extremes(value)
        return HistogramDataPoint(
            attributes=attributes(pool, metric, labels),
            start_time_unix_nano=start,
            time_unix_nano=now,
            count=value.count,
            sum=value.sum_seconds,
            bucket_counts=buckets,
            explicit_bounds=list(metric.bounds),
            min=shortest,
            max=longest,
        )


def _rebucketed(value: Distribution, bounds: tuple[float, ...]) -> list[int]:
    """The buckets by some of our bounds."""
    reached = dict(zip((*BOUNDS, float("inf")), accumulate(value.buckets), strict=True))
    return [
        upper - lower for lower, upper in pairwise([0, *(reached[bound] for bound in (*bounds, float("inf")))])
    ]


def _extremes(value: Distribution) -> tuple[float, float]:
    filled = [index for index, number in enumerate(value.buckets) if number]
    lowest = BOUNDS[filled[0] - 1] if filled[0] else 0.0
    highest = BOUNDS[filled[-1]] if filled[-1] < len(BOUNDS) else value.max_seconds
    return lowest, min(highest, value.max_seconds)


def _added(resource: ResourceMetrics, ours: list[ExportedMetric]) -> ResourceMetrics:
    scopes = list(resource.scope_metrics)
    for index, scope in enumerate(scopes):
        if scope.scope.name == METER:
            scopes[index] = replace(scope, metrics=[*scope.metrics, *ours])
            break
    else:
        scope_of_ours = InstrumentationScope(METER, __version__)
        scopes.append(ScopeMetrics(scope=scope_of_ours, metrics=ours, schema_url=""))
    return replace(resource, scope_metrics=scopes)
