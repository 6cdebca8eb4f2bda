"""The attributes of OpenTelemetry's conventions for one series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .table import SERVER

if TYPE_CHECKING:
    from .metric import Metric

__all__ = ["attributes"]

_SYSTEM = "mongodb"


def attributes(pool: str, metric: Metric, values: tuple[str | None, ...]) -> dict[str, str | int]:
    """What identifies a series: the pool on its server, the server, and the metric's own dimensions.

    Args:
        pool: The pool's unique label.
        metric: The row of the table.
        values: The values of its labels.
    """
    found: dict[str, str | int] = {"db.client.connection.pool.name": pool, "db.system.name": _SYSTEM}
    for label, value in zip(metric.labels, values, strict=True):
        if label is SERVER and value is not None:
            # The name has to be unique in the application, and each server has a pool of connections of its own.
            found["db.client.connection.pool.name"] = f"{pool}@{value}"
            found |= _server(value)
        elif label.otel is not None and value is not None:
            found[label.otel] = value
    return found


def _server(address: str) -> dict[str, str | int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        # The path of a socket has no port.
        return {"server.address": address}
    return {"server.address": host.removeprefix("[").removesuffix("]"), "server.port": int(port)}
