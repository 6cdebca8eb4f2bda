"""docs/metrics.md names every metric that is exported, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from async_mongo_pool.exporters.prometheus_series import families
from async_mongo_pool.exporters.table import METRICS

pytestmark = pytest.mark.core

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
INSTRUMENTS = {
    "updowncounter": "ObservableUpDownCounter",
    "counter": "ObservableCounter",
    "gauge": "ObservableGauge",
    "histogram": "Histogram",
}


def quoted(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def prometheus_rows() -> list[str]:
    """Each row up to its last column, which is the question it answers."""
    rows = []
    for family in families("mongo_pool", "mongo_pool"):
        name = f"{family.name}_total" if family.metric.kind == "counter" else family.name
        rows.append(
            f"| `{name}` | {family.metric.kind} | {quoted(list(family.labels))} | {family.metric.summary} |"
        )
    return rows


def otel_rows() -> list[str]:
    rows = []
    for metric in METRICS:
        extra = quoted([label.otel for label in metric.labels if label.otel is not None])
        unit = f"`{metric.unit}`"
        rows.append(f"| `{metric.otel}` | {INSTRUMENTS[metric.instrument]} | {unit} | {extra} |")
    return rows


def test_every_row_is_on_the_page_as_it_is_exported() -> None:
    lines = PAGE.splitlines()
    for row in prometheus_rows():
        (line,) = [line for line in lines if line.startswith(row)] or [f"missing: {row}"]
        assert re.fullmatch(r" [A-Z].*[?.] \|", line.removeprefix(row)), line
    for row in otel_rows():
        assert row in lines


def test_no_other_metric_is_on_the_page() -> None:
    series = set()
    for family in families("mongo_pool", "mongo_pool"):
        endings = {"counter": ["_total"], "histogram": ["", "_bucket", "_sum", "_count"]}
        series |= {family.name + ending for ending in endings.get(family.metric.kind, [""])}
    assert set(re.findall(r"\bmongo_\w+", PAGE)) - {"mongo_pool"} <= series
    attributes = {label.otel for metric in METRICS for label in metric.labels}
    names = {metric.otel for metric in METRICS} | attributes
    common = {"db.client.connection.pool.name", "db.system.name"}
    assert set(re.findall(r"\b(?:db|mongodb)\.[a-z_]+\.[a-z_.]*[a-z]", PAGE)) <= names | common
