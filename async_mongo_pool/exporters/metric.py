"""What a metric is, apart from any exporter: its names, its labels and how it is read from a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from async_mongo_pool.distribution import BOUNDS, Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from async_mongo_pool.stats import ExecutorStats, PoolSnapshot, ServerStats

__all__ = [
    "Label",
    "Metric",
    "Reading",
    "Value",
    "of_executor",
    "of_executor_by",
    "of_pool",
    "of_pool_by",
    "of_servers",
    "of_servers_by",
]

Value: TypeAlias = int | float | Distribution
Reading: TypeAlias = tuple[tuple[str | None, ...], Value]
"""The labels' values, in the order of ``Metric.labels``, and the number or distribution they belong to."""


@dataclass(frozen=True, slots=True)
class Label:
    """One dimension of a metric.

    Attributes:
        prometheus: The label's name there; None where it is left out and its series are added up.
        otel: The attribute's name there; None where it is left out or, for ``server``, several attributes.
    """

    prometheus: str | None
    otel: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """One row of the table.

    Attributes:
        instrument: How OpenTelemetry calls its kind; Prometheus knows gauge, counter and histogram.
        prometheus: The name of the family with the default prefix, without ``_total``; None where Prometheus
            has it as a series of another family.
        otel: The name of the instrument.
        unit: In UCUM, as OpenTelemetry writes it.
        summary: What it says, in one sentence.
        read: Reads it from a snapshot; yields nothing where it does not apply.
        labels: Its dimensions beside the pool.
        across: How the values of several processes make one: added up, or the greatest or least of them.
        bounds: The upper bounds of a histogram's buckets in OpenTelemetry.
        outlives_client: It goes on counting when the pool opens another client.
    """

    instrument: Literal["updowncounter", "gauge", "counter", "histogram"]
    prometheus: str | None
    otel: str
    unit: str
    summary: str
    read: Callable[[PoolSnapshot], Iterable[Reading]]
    labels: tuple[Label, ...] = ()
    across: Literal["sum", "max", "min"] = "sum"
    bounds: tuple[float, ...] = BOUNDS
    outlives_client: bool = False

    @property
    def kind(self) -> Literal["gauge", "counter", "histogram"]:
        """Its type in Prometheus."""
        return "gauge" if self.instrument == "updowncounter" else self.instrument

    @property
    def is_cumulative(self) -> bool:
        """It only grows while a client is open."""
        return self.kind != "gauge"


def of_pool(value: Callable[[PoolSnapshot], Value]) -> Callable[[PoolSnapshot], Iterable[Reading]]:
    """Read one value of the pool."""
    return lambda snapshot: [((), value(snapshot))]


def of_pool_by(
    values: Callable[[PoolSnapshot], Mapping[str, int]],
) -> Callable[[PoolSnapshot], Iterable[Reading]]:
    """Read several values of the pool, told apart by one label."""
    return lambda snapshot: [((name,), number) for name, number in values(snapshot).items()]


def of_servers(value: Callable[[ServerStats], Value | None]) -> Callable[[PoolSnapshot], Iterable[Reading]]:
    """Read one value of each server, except where it is None."""

    def read(snapshot: PoolSnapshot) -> Iterable[Reading]:
        for address, stats in snapshot.servers.items():
            if (found := value(stats)) is not None:
                yield (address,), found

    return read


def of_servers_by(
    values: Callable[[ServerStats], Mapping[str, int]],
) -> Callable[[PoolSnapshot], Iterable[Reading]]:
    """Read several values of each server, told apart by one label."""

    def read(snapshot: PoolSnapshot) -> Iterable[Reading]:
        for address, stats in snapshot.servers.items():
            for name, number in values(stats).items():
                yield (address, name), number

    return read


def of_executor(value: Callable[[ExecutorStats], Value]) -> Callable[[PoolSnapshot], Iterable[Reading]]:
    """Read one value of Motor's workers, where there are any."""
    return lambda snapshot: [((), value(snapshot.executor))] if snapshot.executor is not None else []


def of_executor_by(
    values: Callable[[ExecutorStats], Mapping[str, int]],
) -> Callable[[PoolSnapshot], Iterable[Reading]]:
    """Read several values of Motor's workers, told apart by one label."""

    def read(snapshot: PoolSnapshot) -> Iterable[Reading]:
        if snapshot.executor is not None:
            for name, number in values(snapshot.executor).items():
                yield (name,), number

    return read
