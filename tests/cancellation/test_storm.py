"""The short form of the storm: whatever was cancelled, nothing is lost, and nobody else notices."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pymongo
import pytest

from tests.pools.subjects import Subject

from .aftermath import Finding, Kept, look
from .storm import BY_RUN, Storm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from async_mongo_pool.testing import ReplicaSet

CANCELLATIONS = 300
BACKENDS = [
    "motor",
    pytest.param(
        "pymongo",
        marks=pytest.mark.skipif(
            pymongo.version_tuple < (4, 20), reason="older ones lose places in the pool, as initialize warns"
        ),
    ),
]


@asynccontextmanager
async def storm_on(backend: str, replica_set: ReplicaSet) -> AsyncIterator[Storm]:
    server = replica_set.primary
    storm = Storm(Subject(backend), server.uri, [server], seed=7)
    await storm.begin()
    try:
        yield storm
    finally:
        await storm.end()
        with server.client() as client:
            client.admin.command("killAllSessions", [])


def wrong(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.holds]


@pytest.mark.core
@pytest.mark.parametrize("backend", BACKENDS)
async def test_cancelled_anywhere_nothing_is_lost(mongodb_replica_set: ReplicaSet, backend: str) -> None:
    async with storm_on(backend, mongodb_replica_set) as storm:
        await storm.rage(CANCELLATIONS)
        assert storm.cancellations >= CANCELLATIONS
        assert all(tally.cancelled for tally in storm.tallies.values()), storm.tallies
        assert sum(tally.spared for tally in storm.tallies.values()) > 20
        snapshot = storm.subject.pool.snapshot()
        in_driver = snapshot.totals.checkouts_abandoned
        assert snapshot.executor.abandoned if backend == "motor" else in_driver
        assert not wrong(await look(storm, mongodb_replica_set.primary))


@pytest.mark.core
@pytest.mark.parametrize("backend", BACKENDS)
async def test_cancelled_in_run_no_connection_is_lost_either(
    mongodb_replica_set: ReplicaSet, backend: str
) -> None:
    async with storm_on(backend, mongodb_replica_set) as storm:
        kept = await asyncio.to_thread(Kept, storm, mongodb_replica_set.primary)
        await storm.rage(CANCELLATIONS, BY_RUN)
        assert storm.cancellations >= CANCELLATIONS
        findings = await look(storm, mongodb_replica_set.primary)
        assert not wrong([*findings, *await asyncio.to_thread(kept.findings)])


async def test_deadlines_of_the_twin_take_nothing_with_them(mongodb_replica_set: ReplicaSet) -> None:
    async with storm_on("sync", mongodb_replica_set) as storm:
        await storm.rage(CANCELLATIONS)
        assert storm.cancellations >= CANCELLATIONS
        interrupted = {kind for kind, tally in storm.tallies.items() if tally.cancelled}
        assert interrupted >= {"operation", "cursor", "transaction", "run"}
        assert not wrong(await look(storm, mongodb_replica_set.primary))
