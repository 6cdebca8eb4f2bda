"""The pools of several processes in one scrape, through ``PROMETHEUS_MULTIPROC_DIR``.

``prometheus_client`` merges what each process wrote into its files there, and asks no collector. So each worker
writes its pools into its own files every few seconds, on a daemon thread: ``start()`` in each worker.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from .growth import Growth
from .missing import needs
from .pools import Pool, Selection, open_snapshots
from .prometheus_series import BUCKETS, DEFAULT_PREFIX, Family, Naming, Series, families, series_of

with needs("prometheus_client", "async_mongo_pool[prometheus]"):
    from prometheus_client import values

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.distribution import Distribution

__all__ = ["flush", "start", "stop"]

logger = logging.getLogger("async_mongo_pool")

_REST = {"sum": 0.0, "max": 0.0, "min": 1.0}
"""What a gauge is when this process has no such pool open: it changes neither sum, maximum nor minimum."""

_STOPPING = 1.0
"""Seconds that ``stop`` waits for the thread, which only ever writes to memory."""


class _Files:
    """The values of this process in ``prometheus_client``'s files.

    Written through its own value class: it allows one writer for each file, and its public histograms take
    one observation at a time.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._gauges: dict[tuple[str, tuple[str, ...]], tuple[Any, float]] = {}

    def write(self, series: Series, gained: Callable[[Series], Any]) -> None:
        """Set a gauge, or add to a counter or histogram what it gained."""
        family, labels = series.family, series.labels
        if family.metric.kind == "gauge":
            value = self._value(family, family.name, labels, multiprocess_mode=f"live{family.metric.across}")
            self._gauges[family.name, labels] = value, _REST[family.metric.across]
            value.set(series.value)
        elif family.metric.kind == "counter":
            self._value(family, f"{family.name}_total", labels).inc(gained(series))
        else:
            # The values first: where they cannot be had, what was gained stays for the next time.
            buckets = [self._value(family, f"{family.name}_bucket", labels, le=bound) for bound in BUCKETS]
            seconds = self._value(family, f"{family.name}_sum", labels)
            distribution: Distribution = gained(series)
            for bucket, number in zip(buckets, distribution.buckets, strict=True):
                bucket.inc(number)
            seconds.inc(distribution.sum_seconds)

    def rest_all_but(self, written: set[tuple[str, tuple[str, ...]]]) -> None:
        """Gauges cannot be taken out of a file: those of pools that are not open say nothing."""
        for key, (value, rest) in self._gauges.items():
            if key not in written:
                value.set(rest)

    def _value(
        self, family: Family, name: str, labels: tuple[str, ...], *, le: str | None = None, **options: Any
    ) -> Any:
        names = family.labels if le is None else (*family.labels, "le")
        own = labels if le is None else (*labels, le)
        if (name, own) not in self._values:
            self._values[name, own] = values.ValueClass(
                family.metric.kind, family.name, name, names, own, family.metric.summary, **options
            )
        return self._values[name, own]


class _Written:
    """What this process wrote so far, whoever started and stopped it meanwhile."""

    files = _Files()
    growth = Growth()


class _Writer:
    """Writes the chosen pools of this process, now and then and when it is told to."""

    def __init__(self, prefix: str, naming: Naming) -> None:
        self.names = (prefix, naming)
        self.selection = Selection()
        self._families = families(prefix, naming)
        self._complained = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, interval: float) -> None:
        """Begin to write every ``interval`` seconds, or go on with another interval."""
        self._end_thread()
        # The event belongs to its thread: a thread that did not end in time must still see that it is to end.
        self._ending = threading.Event()
        arguments = (self._ending, interval)
        self._thread = threading.Thread(
            target=self._write_regularly, args=arguments, name="async_mongo_pool.prometheus", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """Write for the last time; the gauges of this process then say nothing."""
        self._end_thread()
        self.write()
        self._guarded(lambda: _Written.files.rest_all_but(set()))

    def write(self) -> None:
        """Write once. What goes wrong is logged once and tried again with the next writing."""
        self._guarded(self._write)

    def _write(self) -> None:
        snapshots = open_snapshots(self.selection.pools())
        written = set()
        for series in series_of(self._families, snapshots):
            _Written.files.write(series, self._gained)
            written.add((series.family.name, series.labels))
        _Written.files.rest_all_but(written)

    def _gained(self, series: Series) -> Any:
        return _Written.growth.of((series.family.name, series.labels), series.opened_at, series.value)

    def _write_regularly(self, ending: threading.Event, interval: float) -> None:
        while not ending.wait(interval):
            self.write()

    def _end_thread(self) -> None:
        self._ending.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_STOPPING)
        self._thread = None

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            with _writing:
                work()
        except Exception:
            if not self._complained:
                self._complained = True
                logger.warning("the pools' metrics cannot be written to PROMETHEUS_MULTIPROC_DIR", exc_info=True)


class _State:
    """The writer of this process."""

    writer: _Writer | None = None


# Held at each fork, so that no child is born while another thread has prometheus_client's one lock, which
# nobody there would free. Re-entrant, for a fork in a signal handler.
_writing = threading.RLock()


def start(
    *pools: Pool, interval: float = 2.0, prefix: str = DEFAULT_PREFIX, naming: Naming = "mongo_pool"
) -> None:
    """Write the pools of this process into its files in ``PROMETHEUS_MULTIPROC_DIR``, again and again.

    Call it in each worker, after the fork (gunicorn: in ``post_fork``). Calling it again adds pools and changes
    the interval. It ends with the process; counts that a pool gains between the last writing and its closing
    are lost unless ``flush`` is called before ``close``.

    Args:
        *pools: Only these; none stands for all pools of this process, of both twins, also those made later.
        interval: Seconds between two writings.
        prefix: What the names begin with.
        naming: As for ``prometheus.register``.

    Raises:
        RuntimeError: ``PROMETHEUS_MULTIPROC_DIR`` was not set when ``prometheus_client`` was imported.
        ValueError: The interval, prefix or naming is not usable, or another prefix or naming is in use.
        TypeError: Something given is not a pool.
    """
    if not getattr(values.ValueClass, "_multiprocess", False):
        raise RuntimeError(
            "set PROMETHEUS_MULTIPROC_DIR in the environment before prometheus_client is imported; "
            "in a single process use prometheus.register()"
        )
    if not 0 < interval < float("inf"):
        raise ValueError(f"interval={interval!r}: seconds, more than 0")
    with _writing:
        writer = _State.writer or _Writer(prefix, naming)
        if writer.names != (prefix, naming):
            raise ValueError(f"already started with prefix={writer.names[0]!r}, naming={writer.names[1]!r}")
        writer.selection.add(pools)
        _State.writer = writer
        writer.write()
    writer.run(interval)


def flush() -> None:
    """Write now, from any thread; nothing happens where ``start`` was not called. Never raises."""
    if _State.writer is not None:
        _State.writer.write()


def stop() -> None:
    """Write for the last time and stop; the counts stay in the scrape, the gauges of this process leave it.

    Never raises; nothing happens where ``start`` was not called.
    """
    with _writing:
        writer, _State.writer = _State.writer, None
    if writer is not None:
        writer.end()


def _after_fork_in_child() -> None:
    _writing.release()
    # The thread stayed with the parent. The values go over to files of this process by themselves, and counts
    # begin at zero; which gauges there are must not be forgotten, so that the next start lets them say nothing.
    _State.writer = None
    _Written.growth = Growth()


# Before the pools' own work at exit, which was registered earlier and closes them.
atexit.register(stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_writing.acquire, after_in_parent=_writing.release, after_in_child=_after_fork_in_child
    )
