"""The short form of ``make faults``: twenty writers on each backend with ``fast_failover``, and every fault."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from .laboratory.contestants import BACKENDS, Contestant
from .laboratory.failures import FAULTS
from .laboratory.measure import observe
from .laboratory.report import complaints
from .laboratory.servers import laboratory_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .replica_set import ProxiedReplicaSet

SECONDS = {"resets": 1.0, "kill": 3.0, "stepdown": 2.0, "sigstop": 5.5, "partition": 5.5}
"""A silent primary stays so for longer than the gap that is allowed."""


@pytest.fixture(scope="module")
def replica_set() -> Iterator[ProxiedReplicaSet]:
    with laboratory_set(FAULTS["sigstop"]) as running:
        yield running


@pytest.mark.serial
@pytest.mark.leaves(reason="the members of the module's replica set go on talking through proxies in this process")
@pytest.mark.parametrize("name", SECONDS)
def test_nothing_is_lost_and_nothing_hangs(
    name: str, replica_set: ProxiedReplicaSet, wait_until: Callable[..., None]
) -> None:
    before = set(threading.enumerate())
    fault = replace(FAULTS[name], seconds=SECONDS[name])
    contestants = [Contestant(backend, "fast_failover") for backend in BACKENDS]
    found = observe(replica_set, contestants, fault, pause=0.2, patience=20.0)
    assert complaints(found) == []
    assert [each.backend for each in found] == list(BACKENDS)
    for each in found:
        # Each writer wrote before the fault and after it, and lost at most what it was writing meanwhile.
        assert each.acknowledged >= 40, each
        assert each.failed <= 20, each
        # A primary that steps down keeps its connections.
        assert (each.clears > 0) == (name != "stepdown"), each
    wait_until(lambda: not set(threading.enumerate()) - before, 10)


@pytest.mark.serial
@pytest.mark.leaves(reason="the members of the module's replica set go on talking through proxies in this process")
def test_a_lost_write_is_noticed(replica_set: ProxiedReplicaSet) -> None:
    def destroy(struck: ProxiedReplicaSet, seconds: float) -> None:
        with struck.primary.client() as client:
            for collection in client["laboratory"].list_collections():
                client["laboratory"][collection["name"]].delete_many({})

    (found,) = observe(replica_set, [Contestant("sync", "plain")], replace(FAULTS["resets"], strike=destroy))
    assert 0 < found.lost < found.acknowledged
    assert len(complaints([found])) == 1
