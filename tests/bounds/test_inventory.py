"""No public call without a row, and no row without a public call; and the documentation states each bound."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import async_mongo_pool

from .rows import AT_ONCE, MONITORS, POOLS, ROWS

pytestmark = pytest.mark.core

EXPORTERS = {
    "prometheus": {"PoolCollector", "multiprocess", "register", "unregister"},
    "prometheus_multiprocess": {"flush", "start", "stop"},
    "opentelemetry": {"METER", "Instrumentation", "instrument"},
}
"""What the rows "prometheus" and "opentelemetry" call, and ``multiprocess``, which writes the same from a thread
and has tests of its own."""

VALUES = {
    "ClientSettings",
    "Liveness",
    "OptionInForce",
    "PoolConfig",
    "PoolSnapshot",
    "Readiness",
    "RetryStats",
    "ServerHealth",
}
"""Frozen values: nothing that they do knows of a server, a lock or a thread."""

DOCUMENTED = Path(__file__).parents[2] / "docs" / "bounds.md"


def public_calls(owner: Any) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_") and callable(getattr(owner, name))}


def in_rows(kind: str) -> set[str]:
    return {row.name.partition(".")[2] for row in ROWS if row.name.startswith(f"{kind}.")}


@pytest.mark.parametrize("pool", POOLS)
def test_every_public_call_of_a_pool_has_a_row(pool: Any) -> None:
    # What cannot be called in its own name: the class itself, and close_all, which has a test of its own.
    assert public_calls(pool) == (in_rows("pool") - {"__call__"}) | {"close_all"}


@pytest.mark.parametrize("monitor", MONITORS)
def test_every_public_call_of_a_monitor_has_a_row(monitor: Any) -> None:
    assert public_calls(monitor) == in_rows("monitor")


def test_every_public_name_is_accounted_for() -> None:
    watched = {owner.__name__ for owner in (*POOLS, *MONITORS)}
    errors = {
        name
        for name in async_mongo_pool.__all__
        if inspect.isclass(value := getattr(async_mongo_pool, name)) and issubclass(value, Exception)
    }
    assert set(async_mongo_pool.__all__) == watched | VALUES | errors | {"__version__"}


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_every_public_name_of_an_exporter_is_accounted_for(name: str) -> None:
    module = import_module(f"async_mongo_pool.exporters.{name}")
    assert set(module.__all__) == EXPORTERS[name]


def documented() -> dict[str, str]:
    """Each call in the table of docs/bounds.md, with what it says of its bound."""
    found = {}
    for line in DOCUMENTED.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 2:
            for name in re.findall(r"`([\w.]+)", cells[0]):
                assert name not in found, f"{name} is there twice"
                found[name] = cells[1]
    return found


def test_the_documentation_states_a_bound_for_each() -> None:
    table = documented()
    for kind in ("pool", "monitor"):
        names = {name.partition(".")[2] for name in table if name.startswith(f"{kind}.")}
        assert names == in_rows(kind) - {"__call__"} | ({"close_all"} if kind == "pool" else set())


def test_the_documentation_tells_those_that_wait_from_those_that_do_not() -> None:
    table = documented()
    waits = {row.name for row in ROWS if row.bound != AT_ONCE} | {"pool.close_all"}
    said = {name for name, bound in table.items() if not bound.startswith("at once")}
    assert said == waits
