"""The pools in Prometheus: ``prometheus.register()`` and they appear in every scrape.

Needs the ``prometheus`` extra. Under gunicorn, or wherever several processes share ``PROMETHEUS_MULTIPROC_DIR``,
start ``prometheus.multiprocess`` in each worker instead.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from async_mongo_pool.distribution import Distribution
from async_mongo_pool.forks import StartsAfresh

from . import prometheus_multiprocess as multiprocess
from .growth import Growth
from .missing import needs
from .pools import Pool, Selection, open_snapshots
from .prometheus_series import BUCKETS, DEFAULT_PREFIX, Family, Naming, families, series_of

with needs("prometheus_client", "async_mongo_pool[prometheus]"):
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric as PrometheusMetric

    from .metric import Value
    from .prometheus_series import Series

__all__ = ["PoolCollector", "multiprocess", "register", "unregister"]

logger = logging.getLogger("async_mongo_pool")

_SHAPES: dict[str, type[Any]] = {
    "gauge": GaugeMetricFamily,
    "counter": CounterMetricFamily,
    "histogram": HistogramMetricFamily,
}
_collectors: weakref.WeakKeyDictionary[CollectorRegistry, PoolCollector] = weakref.WeakKeyDictionary()
_registering = threading.Lock()


class PoolCollector(StartsAfresh, Collector):
    """Reads the pools at each scrape; ``register`` makes one for each registry.

    Attributes:
        prefix: What the names begin with.
        naming: Whose names they are.
        selection: The pools to read.
    """

    def __init__(self, prefix: str = DEFAULT_PREFIX, naming: Naming = "mongo_pool") -> None:
        super().__init__()
        self.prefix = prefix
        self.naming = naming
        self.selection = Selection()
        self._families = families(prefix, naming)
        self._after_fork_in_child()

    def _after_fork_in_child(self) -> None:
        """Forget the parent's counts, with a lock that nobody holds."""
        self._collecting = threading.Lock()
        self._growth = Growth()

    def describe(self) -> Iterator[PrometheusMetric]:
        """Every family, without series: the registry refuses others of the same name."""
        for family in self._families:
            yield _empty(family)

    def collect(self) -> Iterator[PrometheusMetric]:
        """The families that have series now. One snapshot of each open pool serves them all."""
        filled: dict[str, PrometheusMetric] = {}
        for series in self._series():
            name = series.family.name
            if name not in filled:
                filled[name] = _empty(series.family)
            _add(filled[name], series)
        yield from filled.values()

    def _series(self) -> list[Series]:
        # Two scrapes at once would otherwise take their snapshots in one order and report them in the other.
        with self._collecting:
            found = list(series_of(self._families, open_snapshots(self.selection.pools())))
            found = [each._replace(value=self._level(each)) for each in found]
            self._growth.keep_only((each.family.name, each.labels) for each in found)
        return found

    def _level(self, series: Series) -> Value:
        if not series.family.metric.is_cumulative:
            return series.value
        return self._growth.level((series.family.name, series.labels), series.opened_at, series.value)


def register(
    *pools: Pool,
    registry: CollectorRegistry = REGISTRY,
    prefix: str = DEFAULT_PREFIX,
    naming: Naming = "mongo_pool",
) -> PoolCollector:
    """Let pools appear in each scrape of a registry. A pool appears while it is open.

    A registry has one collector: registering again adds pools to it.

    Args:
        *pools: Only these; none stands for all pools of this process, of both twins, also those made later.
        registry: Default: the registry that ``prometheus_client`` itself uses.
        prefix: What the names begin with.
        naming: "mongo_pool", or "otel" for OpenTelemetry's names and labels as its exporter translates them.

    Returns:
        The registry's collector.

    Raises:
        ValueError: The names are taken in this registry, the registry has our collector with another prefix or
            naming already, or one of the two is not usable.
        TypeError: Something given is not a pool.
    """
    with _registering:
        collector = _collectors.get(registry)
        wanted = PoolCollector(prefix, naming)
        if collector is None:
            wanted.selection.add(pools)
            registry.register(wanted)
            _collectors[registry] = wanted
            _warn_of_processes()
            return wanted
        if (collector.prefix, collector.naming) != (prefix, naming):
            raise ValueError(
                f"this registry has the pools with prefix={collector.prefix!r}, naming={collector.naming!r} "
                "already: unregister() first, or use another registry"
            )
        # Somebody may have taken it out of the registry by hand; where it still is, the registry refuses it.
        with suppress(ValueError):
            registry.register(collector)
        collector.selection.add(pools)
        return collector


def unregister(registry: CollectorRegistry = REGISTRY) -> None:
    """Let all pools disappear from a registry; nothing happens where there are none.

    Args:
        registry: As for ``register``.
    """
    with _registering:
        collector = _collectors.pop(registry, None)
        if collector is not None:
            with suppress(KeyError):
                registry.unregister(collector)


def _warn_of_processes() -> None:
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        logger.warning(
            "PROMETHEUS_MULTIPROC_DIR is set, and prometheus_client's MultiProcessCollector does not see "
            "registered collectors: call exporters.prometheus.multiprocess.start() in each worker instead"
        )


def _empty(family: Family) -> PrometheusMetric:
    made: PrometheusMetric = _SHAPES[family.metric.kind](
        family.name, family.metric.summary, labels=family.labels, unit=family.unit
    )
    return made


def _add(filled: Any, series: Series) -> None:
    if isinstance(series.value, Distribution):
        reached = accumulate(series.value.buckets)
        buckets = list(zip(BUCKETS, reached, strict=True))
        filled.add_metric(series.labels, buckets, series.value.sum_seconds)
    else:
        filled.add_metric(series.labels, series.value)
