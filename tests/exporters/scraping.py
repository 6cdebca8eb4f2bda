"""What Prometheus would read, by its own parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

    Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def families(registry: CollectorRegistry, *, openmetrics: bool = False) -> dict[str, Metric]:
    if openmetrics:
        parsed = parse_openmetrics(generate_openmetrics(registry).decode())  # type: ignore[no-untyped-call]
    else:
        parsed = parse_text(generate_latest(registry).decode())
    found = {}
    for family in parsed:
        assert family.name not in found, "a family appears twice"
        found[family.name] = family
    return found


def samples(registry: CollectorRegistry, *, openmetrics: bool = False) -> Samples:
    found: Samples = {}
    for family in families(registry, openmetrics=openmetrics).values():
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"a series appears twice: {key}"
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))
