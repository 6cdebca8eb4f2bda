"""Snapshots as series with Prometheus' names and labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from async_mongo_pool.distribution import BOUNDS

from .attributes import attributes
from .growth import total
from .table import METRICS, SERVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from async_mongo_pool.stats import PoolSnapshot

    from .metric import Metric, Value

__all__ = ["BUCKETS", "DEFAULT_PREFIX", "Family", "Naming", "Series", "families", "series_of"]

DEFAULT_PREFIX = "mongo_pool"
BUCKETS = (*map(str, BOUNDS), "+Inf")
"""The values of a histogram's label ``le``."""

Naming: TypeAlias = Literal["mongo_pool", "otel"]

_PREFIX = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OTEL_UNITS = {"s": "_seconds"}
_COMMON_ATTRIBUTES = ("db.client.connection.pool.name", "db.system.name")
_SERVER_ATTRIBUTES = ("server.address", "server.port")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric under its name in Prometheus.

    Attributes:
        metric: The row of the table.
        name: Without ``_total``.
        labels: The names of its labels.
        naming: Where the labels come from.
    """

    metric: Metric
    name: str
    labels: tuple[str, ...]
    naming: Naming

    @property
    def unit(self) -> str:
        """The base unit, where the name ends with one."""
        return "seconds" if self.name.endswith("_seconds") else ""

    def values(self, pool: str, read: tuple[str | None, ...]) -> tuple[str, ...]:
        """The values of the labels for one reading."""
        if self.naming == "otel":
            found = {_underscored(name): str(value) for name, value in attributes(pool, self.metric, read).items()}
            # To Prometheus an empty label is an absent one.
            return tuple(found.get(label, "") for label in self.labels)
        pairs = zip(self.metric.labels, read, strict=True)
        return (pool, *(value or "" for label, value in pairs if label.prometheus is not None))


class Series(NamedTuple):
    """One series and its value now.

    Attributes:
        family: What it belongs to.
        labels: The values of the family's labels.
        opened_at: Tells one client of its pool from the next.
        value: A number or a distribution.
    """

    family: Family
    labels: tuple[str, ...]
    opened_at: float
    value: Value


def families(prefix: str, naming: Naming) -> tuple[Family, ...]:
    """Every family that may appear, in the order of the table.

    Args:
        prefix: What the names begin with; of no meaning to OpenTelemetry's names.
        naming: "mongo_pool" for ours, "otel" for OpenTelemetry's as its own exporter translates them.

    Raises:
        ValueError: The prefix cannot begin a name, or the naming is unknown.
    """
    if naming not in ("mongo_pool", "otel"):
        raise ValueError(f'naming={naming!r}: allowed are "mongo_pool" and "otel"')
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"prefix={prefix!r}: a name in Prometheus has letters, digits and underscores only")
    if naming == "otel":
        return tuple(Family(metric, _otel_name(metric), _otel_labels(metric), naming) for metric in METRICS)
    return tuple(
        Family(metric, _prefixed(metric.prometheus, prefix), _labels(metric), naming)
        for metric in METRICS
        if metric.prometheus is not None
    )


def series_of(known: Iterable[Family], snapshots: Iterable[tuple[str, PoolSnapshot]]) -> Iterator[Series]:
    """The series of each family; what differs only in labels that Prometheus leaves out is added up."""
    snapshots = list(snapshots)
    for family in known:
        for pool, snapshot in snapshots:
            grouped: dict[tuple[str, ...], list[Value]] = {}
            for read, value in family.metric.read(snapshot):
                grouped.setdefault(family.values(pool, read), []).append(value)
            opened_at = 0.0 if family.metric.outlives_client else snapshot.opened_at
            for labels, values in grouped.items():
                yield Series(family, labels, opened_at, total(values))


def _labels(metric: Metric) -> tuple[str, ...]:
    return ("pool", *(label.prometheus for label in metric.labels if label.prometheus is not None))


def _prefixed(name: str, prefix: str) -> str:
    if prefix == DEFAULT_PREFIX:
        return name
    return f"{prefix}_{name.removeprefix('mongo_').removeprefix('pool_')}"


def _otel_name(metric: Metric) -> str:
    return _underscored(metric.otel) + _OTEL_UNITS.get(metric.unit, "")


def _otel_labels(metric: Metric) -> tuple[str, ...]:
    server = _SERVER_ATTRIBUTES if SERVER in metric.labels else ()
    own = tuple(label.otel for label in metric.labels if label.otel is not None)
    return tuple(map(_underscored, (*_COMMON_ATTRIBUTES, *server, *own)))


def _underscored(name: str) -> str:
    return name.replace(".", "_")
