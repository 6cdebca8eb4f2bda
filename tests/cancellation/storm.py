"""A storm: random work on one pool, each piece cancelled once at a random moment, beside work that is spared.

The seed decides, for each task, which work it does and when that is cancelled; what the cancellation then meets is
up to the event loop, the network and the server. No piece of work is cancelled twice: see the README about what
PyMongo does then on Python 3.11. The blocking calls of the twin cannot be cancelled: there the driver's own
deadline interrupts them, by ``operation(timeout=...)``.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from async_mongo_pool.errors import PoolClosingError
from async_mongo_pool.testing.waiting import wait_until_async
from tests.pools.subjects import ping
from tests.statistics.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from async_mongo_pool.testing import Server
    from tests.pools.subjects import Subject

CONNECTIONS = 10
TASKS = 40
"""Four times as many as connections: most of the work has to queue."""

DIRECTLY: Mapping[str, int] = {
    "operation": 4,
    "cursor": 4,
    "transaction": 3,
    "run": 3,
    "initialize": 1,
    "close": 1,
}
"""What is cancelled, and how often in proportion."""
BY_RUN: Mapping[str, int] = {"run": 1}

SPARED = 0.2
"""The share of the work that is not cancelled, and must not notice that other work is."""
GUESTS = 3
BOUND = 60.0
"""Seconds after which a piece of work, cancelled or not, counts as hanging."""

_TURNS = 20
_SECONDS = (0.0005, 0.002, 0.005, 0.01, 0.02, 0.04)
_DEADLINES = (0.001, 0.003, 0.006, 0.01, 0.02, 0.04)
_SLOW = {
    "failCommands": [
        "find",
        "getMore",
        "insert",
        "update",
        "aggregate",
        "commitTransaction",
        "abortTransaction",
    ],
    "blockConnection": True,
    "blockTimeMS": 3,
}


@dataclass
class Tally:
    """How the work of one kind ended."""

    begun: int = 0
    cancelled: int = 0
    too_late: int = 0
    """It was done before the cancellation took effect."""
    spared: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def failed(self, error: BaseException) -> None:
        self.failures[f"{type(error).__name__}: {error}"[:200]] += 1


class Storm(Load):
    """One pool in a storm, and a few others, the guests, that are opened and closed in it.

    Args:
        subject: The pool.
        uri: Of a server with transactions.
        servers: The members of its replica set.
        seed: Of everything random here.
    """

    def __init__(self, subject: Subject, uri: str, servers: Sequence[Server], seed: int) -> None:
        super().__init__(subject, uri, servers, seed)
        self.seed = seed
        self.guests = [subject.another() for _ in range(GUESTS)]
        self.tallies: dict[str, Tally] = {}
        self.cursors_before = 0
        self._works: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "operation": self._operate,
            "cursor": self._read,
            "transaction": self._transact_now,
            "run": self._run_through_pool,
            "initialize": self._open_guest,
            "close": self._close_guest,
        }

    async def begin(self) -> None:
        """Open the pool, with all of its connections."""
        asyncio.get_running_loop().set_default_executor(self.threads)
        await self.open(
            maxPoolSize=CONNECTIONS,
            minPoolSize=CONNECTIONS,
            maxIdleTimeMS=3_600_000,
            waitQueueTimeoutMS=30_000,
            warm_up=True,
            timeout=30,
        )
        await self._insert(self.subject.pool.get_client())

    async def end(self) -> None:
        """Close everything."""
        for each in (*self.guests, self.subject):
            await each.close(drain=0, timeout=5)
        self.threads.shutdown()

    @property
    def cancellations(self) -> int:
        return sum(tally.cancelled for tally in self.tallies.values())

    async def rage(
        self,
        cancellations: int,
        kinds: Mapping[str, int] = DIRECTLY,
        *,
        tell: Callable[[Storm], None] = lambda _: None,
    ) -> None:
        """Work until so much was cancelled.

        Args:
            cancellations: How often.
            kinds: Of what, and in which proportion.
            tell: Called after each cancellation.
        """
        self.tallies = {kind: Tally() for kind in kinds}
        self.cursors_before = await asyncio.to_thread(cursors_open, self.servers[0])
        with ExitStack() as slow:
            for server in self.servers:
                data = {**_SLOW, "appName": self.subject.name}
                slow.enter_context(server.fail_point("failCommand", "alwaysOn", data))
            async with asyncio.TaskGroup() as tasks:
                for number in range(TASKS):
                    tasks.create_task(self._work_on(cancellations, kinds, tell, number))
            await self._until_abandoned(0)

    async def _until_abandoned(self, most: int) -> None:
        """Wait until ``run`` finishes no more than so many calls whose callers are gone."""
        stats = self.subject.pool.retry_stats
        await wait_until_async(lambda: stats().abandoned_running <= most, BOUND, "what run finishes", 0.005)

    async def _work_on(
        self, cancellations: int, kinds: Mapping[str, int], tell: Callable[[Storm], None], number: int
    ) -> None:
        chance = random.Random(f"{self.seed} {number}")
        while self.cancellations < cancellations:
            (kind,) = chance.choices(list(kinds), list(kinds.values()))
            tally = self.tallies[kind]
            before = tally.cancelled
            if self.subject.is_async:
                # Callers that give up and come again at once would pile up work without end.
                await self._until_abandoned(4 * TASKS)
                await self._cancel(kind, chance)
            else:
                await self._interrupt(kind, chance)
            if tally.cancelled > before:
                tell(self)

    async def _cancel(self, kind: str, chance: random.Random) -> None:
        tally = self.tallies[kind]
        tally.begun += 1
        spared = chance.random() < SPARED
        turns, seconds = chance.randrange(_TURNS), chance.choice(_SECONDS)
        if kind == "close" and (error := await self._failure_to_open()):
            tally.failed(error)
            return
        task = asyncio.ensure_future(self._works[kind]())
        if not spared:
            await _moment(turns, seconds)
            task.cancel()
        await asyncio.wait({task}, timeout=BOUND)
        assert task.done(), f"{kind} hangs: {task}"
        if task.cancelled():
            tally.cancelled += 1
        elif failure := task.exception():
            tally.failed(failure)
        else:
            tally.spared += spared
            tally.too_late += not spared

    async def _failure_to_open(self) -> Exception | None:
        try:
            await self._open_guest()
        except PyMongoError as error:
            return error
        return None

    async def _interrupt(self, kind: str, chance: random.Random) -> None:
        """The same for blocking calls, whose deadline travels with them into their thread."""
        tally = self.tallies[kind]
        tally.begun += 1
        spared = chance.random() < SPARED
        seconds = chance.choice(_DEADLINES)
        try:
            with nullcontext() if spared else self.subject.pool.operation(timeout=seconds):
                async with asyncio.timeout(BOUND):
                    await self._works[kind]()
        except PyMongoError as error:
            if error.timeout and not spared:
                tally.cancelled += 1
            else:
                tally.failed(error)
        else:
            tally.spared += spared
            tally.too_late += not spared

    async def _operate(self) -> None:
        work = self.random.choice((self._find, self._insert, self._update))
        await work(self.subject.pool.get_client())

    async def _read(self) -> None:
        work = self.random.choice((self._iterate, self._aggregate))
        await work(self.subject.pool.get_client())

    async def _transact_now(self) -> None:
        await self._transact(self.subject.pool.get_client())

    async def _run_through_pool(self) -> None:
        if not self.subject.is_async:
            await self.subject.call(self.subject.pool.run, self._blocking)
            return
        known = (self._find, self._insert, self._update, self._iterate, self._aggregate, self._transact)
        await self.subject.pool.run(self.random.choice(known))

    def _blocking(self, client: Any) -> None:
        self._collection(client).insert_one({"n": self.random.randrange(50)})
        list(self._collection(client).find({}, batch_size=2).limit(6))

    async def _open_guest(self) -> None:
        guest = self.random.choice(self.guests)
        try:
            client = await guest.initialize(self.uri, maxPoolSize=3, minPoolSize=1, timeout=BOUND)
        except PoolClosingError:
            # Somebody closed it meanwhile, and says so.
            return
        try:
            await guest.call(ping, client)
        except PyMongoError:
            # The same; while a client is being closed the driver has several words for it.
            if guest.pool.get_client() is client:
                raise

    async def _close_guest(self) -> None:
        guest = self.random.choice(self.guests)
        await guest.close(drain=self.random.choice((0, 0.02)), timeout=5)


async def _moment(turns: int, seconds: float) -> None:
    """After so many turns of the loop if they are few, else after so many seconds: half of each."""
    if turns >= _TURNS // 2:
        await asyncio.sleep(seconds)
        return
    for _ in range(turns):
        await asyncio.sleep(0)


def cursors_open(server: Server) -> int:
    return int(server_status(server)["metrics"]["cursor"]["open"]["total"])


def server_status(server: Server) -> dict[str, Any]:
    with server.client() as client:
        status: dict[str, Any] = client.admin.command("serverStatus")
        return status
