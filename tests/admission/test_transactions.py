"""A full pool whose operations wait for a transaction's lock leaves its commit a connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import ReadPreference

from tests.pools.subjects import Subject
from tests.timing import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.testing import ReplicaSet


@pytest.mark.parametrize("read_everywhere", [False, True], ids=["primary", "three servers"])
async def test_a_commit_passes_two_hundred_operations_that_wait_for_it(
    mongodb_replica_set: ReplicaSet, wait_until_async: Callable[..., Any], read_everywhere: bool
) -> None:
    motor = Subject("motor")
    preference = {"readPreference": "nearest"} if read_everywhere else {}
    client = await motor.initialize(
        mongodb_replica_set.uri, maxPoolSize=10, minPoolSize=0, waitQueueTimeoutMS=60_000, **preference
    )
    admission = motor.pool._lifecycle.handle().admission
    # The counts are read where they were written: a secondary may be behind.
    accounts = client.get_database(motor.name, read_preference=ReadPreference.PRIMARY).accounts
    try:
        await accounts.insert_one({"_id": 1, "n": 0})
        session = await client.start_session()
        session.start_transaction(read_preference=ReadPreference.PRIMARY)
        await accounts.update_one({"_id": 1}, {"$inc": {"n": 1}}, session=session)
        updates = [asyncio.ensure_future(accounts.update_one({"_id": 1}, {"$inc": {"n": 1}})) for _ in range(200)]
        # All that new work may hold is taken, and waits on the server for the transaction.
        await wait_until_async(lambda: admission.stats().busy == 9)
        began = now()
        await asyncio.wait_for(session.commit_transaction(), 10)
        assert now() - began < 3
        await session.end_session()
        await asyncio.wait_for(asyncio.gather(*updates), 60)
        assert (await accounts.find_one({"_id": 1}))["n"] == 201
    finally:
        await client.drop_database(motor.name)
        await motor.close(drain=1, timeout=5)
