"""Random load on a pool: reads, writes, cursors, transactions, cancellations, faults, quiet times."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from async_mongo_pool.backends import driver_state

from .witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from async_mongo_pool.backends.handle import ClientHandle
    from async_mongo_pool.stats import PoolSnapshot
    from async_mongo_pool.testing import Server
    from tests.pools.subjects import Subject

    Operation = Callable[[Any], Coroutine[Any, Any, None]]

# The last two make the driver look for a primary anew, which takes half a second each time: so only a few.
FAULTS: Sequence[tuple[Any, dict[str, Any]]] = (
    ({"times": 3}, {"failCommands": ["find", "insert", "aggregate", "getMore"], "closeConnection": True}),
    (
        {"activationProbability": 0.05},
        {"failCommands": ["find", "insert", "update"], "blockConnection": True, "blockTimeMS": 30},
    ),
    ({"times": 2}, {"failCommands": ["find", "insert", "update"], "errorCode": 91}),
    ({"times": 2}, {"failCommands": ["insert", "update", "find"], "errorCode": 10107}),
)
REST_LIMIT = 20.0
THREADS = 16


class Load:
    """One pool under random load, with a witness for each of its clients.

    Args:
        subject: The pool.
        uri: Of a replica set, for transactions.
        servers: Its members, where faults are switched on.
        seed: Of everything random here.
    """

    def __init__(self, subject: Subject, uri: str, servers: Sequence[Server], seed: int) -> None:
        self.subject = subject
        self.uri = uri
        self.servers = servers
        self.random = random.Random(seed)
        self.done = self.failed = self.cancelled = 0
        # The twin's calls run here, as many at a time as there are tasks.
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="asyncio_load")
        self.clients: list[tuple[ClientHandle, Witness]] = []

    async def open(self, **options: Any) -> None:
        """Open the pool, or replace its client: every option differs by its witness."""
        witness = Witness()
        await self.subject.initialize(
            self.uri,
            event_listeners=[witness],
            **{
                "maxPoolSize": 6,
                "minPoolSize": 1,
                "maxIdleTimeMS": 150,
                "waitQueueTimeoutMS": 2000,
                "retire_after": 0.2,
                "serverSelectionTimeoutMS": 8000,
                "heartbeatFrequencyMS": 500,
            }
            | options,
        )
        self.clients.append((self.subject.pool._lifecycle.handle(), witness))

    async def run(self, operations: int, tasks: int, *, cancelled: float = 0.05) -> None:
        """Do so many operations in so many tasks; in threads nothing can be cancelled."""
        asyncio.get_running_loop().set_default_executor(self.threads)
        share = cancelled if self.subject.is_async else 0.0
        await asyncio.gather(*[self._work(operations // tasks, share) for _ in range(tasks)])

    async def run_with_faults(self, operations: int, tasks: int) -> None:
        """The same with each of the faults in turn, a replacement in the middle and a quiet time after each."""
        for number, (mode, fault) in enumerate(FAULTS):
            with ExitStack() as switched_on:
                for server in self.servers:
                    switched_on.enter_context(
                        server.fail_point("failCommand", mode, {**fault, "appName": self.subject.name})
                    )
                await self.run(operations // len(FAULTS), tasks)
            if number == 1:
                await self.open()
            # Long enough for idle connections to be reaped, and for the background thread to make new ones.
            await asyncio.sleep(self.random.uniform(0.2, 0.6))

    async def _work(self, operations: int, cancelled: float) -> None:
        known = self._operations()
        for _ in range(operations):
            operation = self.random.choice(known)
            task = asyncio.ensure_future(operation(self.subject.pool.get_client()))
            if self.random.random() < cancelled:
                # What it meets is chance: a wait in either queue, the network, a check-in.
                await asyncio.sleep(self.random.choice((0, 0, 0.0005, 0.002, 0.01)))
                task.cancel()
                self.cancelled += 1
            try:
                await task
                self.done += 1
            except (PyMongoError, asyncio.CancelledError):
                self.failed += 1

    def _operations(self) -> list[Operation]:
        return [
            self._find,
            self._find,
            self._insert,
            self._update,
            self._iterate,
            self._aggregate,
            self._transact,
        ]

    def _collection(self, client: Any) -> Any:
        return client["load"][self.subject.name]

    async def _find(self, client: Any) -> None:
        await self.subject.call(self._collection(client).find_one, {"n": self.random.randrange(50)})

    async def _insert(self, client: Any) -> None:
        await self.subject.call(self._collection(client).insert_one, {"n": self.random.randrange(50)})

    async def _update(self, client: Any) -> None:
        change = {"$inc": {"m": 1}}
        await self.subject.call(self._collection(client).update_one, {"n": self.random.randrange(50)}, change)

    async def _iterate(self, client: Any) -> None:
        cursor = self._collection(client).find({}, batch_size=2).limit(self.random.randrange(3, 8))
        async for _ in self.subject.documents(cursor):
            pass

    async def _aggregate(self, client: Any) -> None:
        cursor = self._collection(client).aggregate([{"$limit": 5}])
        if hasattr(cursor, "__await__"):
            cursor = await cursor
        await self.subject.call(cursor.to_list, *([] if self.subject.backend != "motor" else [None]))

    async def _transact(self, client: Any) -> None:
        session = await self.subject.session(client)
        try:
            await self.subject.call(session.start_transaction)
            for _ in range(2):
                await self.subject.call(
                    self._collection(client).insert_one, {"n": self.random.randrange(50)}, session=session
                )
            end = session.commit_transaction if self.random.random() < 0.7 else session.abort_transaction
            await self.subject.call(end)
        finally:
            with suppress(PyMongoError):
                await self.subject.end(session)

    async def rest(self) -> None:
        """Wait until the driver's own pools say that nothing is in progress, and two snapshots say the same."""
        deadline = time.monotonic() + REST_LIMIT
        for handle, _ in self.clients:
            while not self._rests(handle):
                assert time.monotonic() < deadline, f"still busy: {handle.snapshot()}"
                await asyncio.sleep(0.05)

    def _rests(self, handle: ClientHandle) -> bool:
        pools = driver_state.pools_now(handle.driver_client).values()
        busy = handle.in_progress() or any(pool.reserved or pool.connecting for pool in pools)
        totals = handle.snapshot().totals
        return not busy and totals.size == totals.idle and totals.waiting == 0 == totals.used

    async def compare(self) -> list[PoolSnapshot]:
        """Every client's snapshot against its witness, and against the driver's own pool while that is open."""
        return [await self._compare(handle, witness) for handle, witness in self.clients]

    async def _compare(self, handle: ClientHandle, witness: Witness) -> PoolSnapshot:
        deadline = time.monotonic() + REST_LIMIT
        while True:
            # The driver reaps and refills in the background: only what nothing happened around can be compared.
            before = witness.counted().total()
            pools = _pools(handle)
            resting = self._rests(handle)
            snapshot = handle.snapshot()
            if resting and before == witness.counted().total():
                break
            assert time.monotonic() < deadline, f"never at rest: {snapshot}"
            await asyncio.sleep(0.02)
        witness.agrees(snapshot)
        for (host, port), pool in pools.items():
            assert snapshot.servers[f"{host}:{port}"].idle == len(pool.idle)
        if handle.backend != "pymongo" or not self.subject.is_async:
            assert snapshot.totals.events_missed == 0
        return snapshot


def _pools(handle: ClientHandle) -> dict[Any, Any]:
    return driver_state.pools_now(handle.driver_client)
