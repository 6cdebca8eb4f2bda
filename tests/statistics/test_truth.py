"""The snapshot against an independent witness, the driver's own pool, and the server, after random load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.pools.subjects import Subject

from .load import Load

if TYPE_CHECKING:
    from async_mongo_pool.testing import ReplicaSet

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=["motor", "pymongo", "sync"])
async def subject(request: pytest.FixtureRequest) -> Any:
    made = Subject(request.param)
    yield made
    await made.close(drain=0, timeout=5)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_after_random_load_the_snapshot_is_the_truth(
    subject: Subject, mongodb_replica_set: ReplicaSet, seed: int
) -> None:
    load = Load(subject, mongodb_replica_set.uri, mongodb_replica_set.members, seed)
    await load.open()
    await load.run_with_faults(operations=1600, tasks=12)
    await load.rest()
    snapshots = await load.compare()

    assert load.done > 1000
    assert sum(snapshot.totals.checkouts for snapshot in snapshots) > 1000
    assert sum(snapshot.totals.connections_closed["idle"] for snapshot in snapshots) > 0
    assert load.failed > 0
