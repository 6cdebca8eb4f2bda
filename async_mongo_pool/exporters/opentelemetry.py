"""The pools in OpenTelemetry: ``opentelemetry.instrument()`` and they appear in every collection.

Needs the ``opentelemetry`` extra and, in the application, an SDK with a reader.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from async_mongo_pool._version import __version__
from async_mongo_pool.distribution import Distribution
from async_mongo_pool.forks import StartsAfresh

from .attributes import attributes
from .growth import Growth
from .missing import needs
from .pools import Pool, Selection, open_snapshots
from .replay import Backlog
from .table import METRICS

with needs("opentelemetry.metrics", "async_mongo_pool[opentelemetry]"):
    from opentelemetry.metrics import Histogram, MeterProvider, Observation, get_meter_provider

if TYPE_CHECKING:
    from collections.abc import Hashable
    from types import TracebackType

    from opentelemetry.metrics import CallbackOptions, Meter

    from .metric import Metric

__all__ = ["METER", "Instrumentation", "instrument"]

logger = logging.getLogger("async_mongo_pool")

METER = "async_mongo_pool"
"""The name of the meter: the instrumentation scope of all metrics."""

MANY_DURATIONS = 100_000
"""Recording that many takes most of a second, so no more are recorded in one collection: the next one goes on,
and the log names the cheap way, once."""

RECORDED_AT_A_STRETCH = 50
"""How many durations are recorded, in about 0.4 ms, before other threads get their turn."""

Histograms: TypeAlias = Literal["recorded", "exported"]


class Instrumentation:
    """What ``instrument`` began; also a context manager that ends it."""

    def __init__(self, source: _Source, selection: Selection) -> None:
        self._source = source
        self._selection = selection

    def uninstrument(self) -> None:
        """Let these pools disappear from the collections, unless they were instrumented twice."""
        self._source.drop(self._selection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.uninstrument()


def instrument(
    *pools: Pool, meter_provider: MeterProvider | None = None, histograms: Histograms = "recorded"
) -> Instrumentation:
    """Let pools appear in each collection of a meter provider. A pool appears while it is open.

    Args:
        *pools: Only these; none stands for all pools of this process, of both twins, also those made later.
        meter_provider: Default: the global one, which should be set before.
        histograms: "recorded" records durations into instruments at each collection, about 8 microseconds each
            on the reader's thread; "exported" leaves them to ``HistogramExporter``, whose cost is constant.

    Returns:
        What ends it again.

    Raises:
        ValueError: ``histograms`` is unknown, this provider is in use with the other way, or has ever been with
            "recorded" and "exported" is asked for.
        TypeError: Something given is not a pool.
    """
    if histograms not in ("recorded", "exported"):
        raise ValueError(f'histograms={histograms!r}: allowed are "recorded" and "exported"')
    selection = Selection()
    selection.add(pools)
    with _instrumenting:
        current = get_meter_provider()
        provider = meter_provider or current
        source = _sources.get(provider) or (_Global.source if provider is current else None)
        if source is None:
            source = _sources[provider] = _Source(provider.get_meter(METER, __version__))
        if provider is current:
            _Global.source = source
        source.take(selection, histograms)
    return Instrumentation(source, selection)


class _Round:
    """One snapshot of each open pool, for all instruments of one collection."""

    def __init__(self) -> None:
        self.observations: dict[Metric, list[Observation]] = {metric: [] for metric in METRICS}
        self.served: set[Metric] = set()


class _Source(StartsAfresh):
    """The instruments of one meter provider, made once: OpenTelemetry cannot take an instrument back."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._selections: list[Selection] = []
        self._histograms: Histograms = "recorded"
        self._meter = meter
        self._complained: set[str] = set()
        self._recorders: dict[Metric, Histogram] = {}
        self._after_fork_in_child()
        for metric in METRICS:
            if metric.instrument != "histogram":
                self._make(metric)

    def _after_fork_in_child(self) -> None:
        """Forget what the parent counted, with a lock that nobody holds."""
        self._lock = threading.Lock()
        self._round: _Round | None = None
        self._growth = Growth()
        self._totals: dict[Hashable, int | float] = {}
        self._backlog = Backlog()

    def take(self, selection: Selection, histograms: Histograms) -> None:
        """Watch these pools too."""
        if self._recorders and histograms == "exported":
            # What the SDK once recorded it exports for ever: ours beside it would be the same counts again.
            raise ValueError(
                'this meter provider has recorded durations with histograms="recorded" and keeps those '
                'histograms: use another meter provider for histograms="exported"'
            )
        if self._selections and histograms != self._histograms:
            raise ValueError(f"this meter provider is in use with histograms={self._histograms!r}")
        self._histograms = histograms
        if histograms == "recorded" and not self._recorders:
            self._recorders = {
                metric: self._meter.create_histogram(
                    metric.otel,
                    metric.unit,
                    metric.summary,
                    explicit_bucket_boundaries_advisory=list(metric.bounds),
                )
                for metric in METRICS
                if metric.instrument == "histogram"
            }
        self._selections.append(selection)

    def drop(self, selection: Selection) -> None:
        """Watch these pools no longer."""
        with _instrumenting:
            if selection in self._selections:
                self._selections.remove(selection)

    def _make(self, metric: Metric) -> None:
        create: Any = {
            "updowncounter": self._meter.create_observable_up_down_counter,
            "counter": self._meter.create_observable_counter,
            "gauge": self._meter.create_observable_gauge,
        }[metric.instrument]
        create(
            metric.otel, callbacks=[partial(self._observe, metric)], unit=metric.unit, description=metric.summary
        )

    def _observe(self, metric: Metric, _options: CallbackOptions) -> list[Observation]:
        """What one instrument reports. Never raises: the other instruments of the application are to go on."""
        try:
            with self._lock:
                # The SDK asks each instrument once in a collection, and runs one collection at a time: who asks
                # for the second time begins a new one.
                if self._round is None or metric in self._round.served:
                    self._round = self._collect()
                self._round.served.add(metric)
                return self._round.observations[metric]
        except Exception:
            self._complain("the pools' metrics cannot be collected", exc_info=True)
            return []

    def _collect(self) -> _Round:
        made = _Round()
        pools = [pool for selection in list(self._selections) for pool in selection.pools()]
        for pool, snapshot in open_snapshots(pools):
            for metric in METRICS:
                opened_at = 0.0 if metric.outlives_client else snapshot.opened_at
                for labels, value in metric.read(snapshot):
                    series = (pool, metric.otel, labels)
                    gained = self._growth.of(series, opened_at, value) if metric.is_cumulative else value
                    found = attributes(pool, metric, labels)
                    if isinstance(gained, Distribution):
                        if (recorder := self._recorders.get(metric)) is not None:
                            self._backlog.add(series, partial(recorder.record, attributes=found), gained)
                        continue
                    if metric.is_cumulative:
                        # The SDK takes a counter's total: one that fell with a new client would count backwards.
                        gained += self._totals.get(series, 0)
                        self._totals[series] = gained
                    made.observations[metric].append(Observation(gained, found))
        self._record()
        return made

    def _record(self) -> None:
        for number, (record, seconds) in enumerate(self._backlog.take(MANY_DURATIONS)):
            record(seconds)
            if number % RECORDED_AT_A_STRETCH == 0:
                # Without a break others wait 5 ms (the switch interval) for each turn, an event loop at each step.
                time.sleep(0)
        if self._backlog:
            self._complain(
                "more than %d durations were to be recorded in one collection, at some microseconds each: the "
                'next one goes on; histograms="exported" with HistogramExporter costs nothing for each',
                MANY_DURATIONS,
            )

    def _complain(self, sentence: str, *arguments: Any, exc_info: bool = False) -> None:
        if sentence not in self._complained:
            self._complained.add(sentence)
            logger.warning(sentence, *arguments, exc_info=exc_info)


class _Global:
    """What was made for the global provider, which is another object before the application has set it."""

    source: _Source | None = None


_sources: weakref.WeakKeyDictionary[MeterProvider, _Source] = weakref.WeakKeyDictionary()
_instrumenting = threading.Lock()
