"""The long run by operations: random load and faults for as many as asked, and no drift.

The load comes in portions. After each the pool is left to rest, its snapshot must equal what an independent
witness counted, what the driver's pool holds and what the server counts, and a line of state is printed. Memory is
printed too: it may grow at first, and must not keep growing.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

import psutil

from tests.pools.subjects import Subject
from tests.statistics.load import Load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from async_mongo_pool.testing import ReplicaSet, Server

PORTION = 20_000


async def soak(backend: str, deployment: ReplicaSet, operations: int, seed: int) -> None:
    """One backend's share; raises AssertionError at the first number that is not true."""
    subject = Subject(backend)
    load = Load(subject, deployment.uri, deployment.members, seed)
    began = time.monotonic()
    await load.open(maxPoolSize=20)
    try:
        while load.done + load.failed < operations:
            await load.run(PORTION, tasks=16)
            await load.run_with_faults(PORTION // 20, tasks=16)
            await load.rest()
            snapshots = await load.compare()
            # Replaced clients are closed by now; what they counted was compared, and may go.
            del load.clients[:-1]
            totals = snapshots[-1].totals
            await _server_agrees(deployment.members, subject.name, totals.size)
            gc.collect()
            print(
                f"{backend:8} {load.done + load.failed:>9,} operations, {load.failed:,} failed or cancelled, "
                f"drift 0, {totals.events_missed} events missed and made good, "
                f"{psutil.Process().memory_info().rss / 2**20:.0f} MiB, {time.monotonic() - began:.0f} s",
                flush=True,
            )
    finally:
        await subject.close(drain=0, timeout=5)
        load.threads.shutdown()


async def _server_agrees(members: Sequence[Server], appname: str, size: int) -> None:
    """The servers count our connections, and at most two of each member's monitors besides."""
    deadline = time.monotonic() + 10
    while True:
        counted = sum(len(member.connections(appname)) for member in members)
        if size <= counted <= size + 2 * len(members):
            return
        assert time.monotonic() < deadline, f"the servers count {counted} connections, the pool {size}"
        await asyncio.sleep(0.2)
