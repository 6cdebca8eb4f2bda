"""What is read from the driver's heartbeats and our counts, without a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from async_mongo_pool.health.sight import see
from async_mongo_pool.stats import ServerStats

pytestmark = pytest.mark.core

FULL = {"size": 2, "used": 2}
FREE = {"size": 2, "used": 1, "idle": 1}
CONNECTING = {"size": 2, "connecting": 2, "pending_requests": 4}
WAITED_FOR = {"size": 2, "used": 1, "idle": 1, "pending_requests": 3}


def handle(**servers: tuple[str, float, dict[str, Any]]) -> Any:
    """Servers by name: the driver's word for the kind, when it was heard, and the connections."""
    descriptions = {
        (name, 1): SimpleNamespace(
            address=(name, 1),
            is_readable=kind != "Unknown",
            is_writable=kind in ("RSPrimary", "Mongos"),
            server_type_name=kind,
            error=None,
            last_update_time=heard_at,
        )
        for name, (kind, heard_at, _) in servers.items()
    }
    stats = {
        f"{name}:1": ServerStats(address=f"{name}:1", state="ready", max_size=2, **numbers)
        for name, (_, _, numbers) in servers.items()
    }
    return SimpleNamespace(
        pool="Pool",
        settings=SimpleNamespace(redactor=SimpleNamespace(scrub=str)),
        driver_client=SimpleNamespace(
            topology_description=SimpleNamespace(server_descriptions=lambda: descriptions)
        ),
        snapshot=lambda: SimpleNamespace(servers=stats),
    )


@pytest.mark.parametrize("require", ["any", "primary"])
@pytest.mark.parametrize(
    ("numbers", "full"), [(FULL, True), (FREE, False), (CONNECTING, False), (WAITED_FOR, True)]
)
def test_one_server(require: Any, numbers: dict[str, Any], full: bool) -> None:
    sight = see(handle(a=("RSPrimary", 7.0, numbers)), require, pinging=False)
    assert (sight.saturated, sight.full) == (full, full)
    assert (sight.primary, sight.readable, sight.heard_at) == (True, True, 7.0)


def test_ones_own_ping_makes_no_server_full() -> None:
    assert not see(handle(a=("RSPrimary", 7.0, FULL)), "any", pinging=True).saturated
    assert see(handle(a=("RSPrimary", 7.0, {**FULL, "pending_requests": 1})), "any", pinging=True).full


@pytest.mark.parametrize("require", ["any", "primary"])
def test_full_secondaries_are_none_of_the_primarys_business(require: Any) -> None:
    sight = see(handle(a=("RSPrimary", 7.0, FREE), b=("RSSecondary", 9.0, FULL)), require, pinging=False)
    assert (sight.saturated, sight.full) == (True, False)
    assert see(handle(a=("RSPrimary", 7.0, FULL), b=("RSSecondary", 9.0, FREE)), require, pinging=False).full


def test_without_a_primary_every_server_that_can_be_read_may_be_pinged() -> None:
    one = handle(a=("RSSecondary", 7.0, FULL), b=("RSSecondary", 9.0, FREE), c=("Unknown", 0.0, {}))
    assert not see(one, "any", pinging=False).full
    all_of_them = handle(a=("RSSecondary", 7.0, FULL), b=("RSSecondary", 9.0, FULL), c=("Unknown", 0.0, {}))
    assert see(all_of_them, "any", pinging=False).full
    assert not see(all_of_them, "primary", pinging=False).full


def test_only_a_server_as_required_is_heard() -> None:
    both = handle(a=("RSPrimary", 7.0, FREE), b=("RSSecondary", 9.0, FREE))
    assert see(both, "primary", pinging=False).heard_at == 7.0
    assert see(both, "any", pinging=False).heard_at == 9.0
    assert see(handle(b=("RSSecondary", 9.0, FREE)), "primary", pinging=False).heard_at == 0.0


def test_a_pool_without_a_limit_is_never_full() -> None:
    unlimited = handle(a=("RSPrimary", 7.0, FULL))
    unlimited.snapshot = lambda: SimpleNamespace(
        servers={"a:1": ServerStats(address="a:1", state="ready", size=9, used=9, pending_requests=3)}
    )
    assert not see(unlimited, "any", pinging=False).saturated
