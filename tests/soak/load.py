"""The load of the long run: the same operations as in the tests of truth, and more, until it is told to rest."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pymongo import ReadPreference
from pymongo.errors import PyMongoError

from tests.statistics.load import THREADS, Load
from tests.statistics.witness import Witness

if TYPE_CHECKING:
    from tests.pools.subjects import Subject
    from tests.statistics.load import Operation

__all__ = ["LongLoad"]

CANCELLED = 0.02
PAUSE = 0.02
MOST_COMPLAINTS = 20
THREADS_LIMIT = 30.0
STOP_LIMIT = 40.0
"""Seconds in which every operation has ended once the load is told to rest: the sum of the driver's own limits."""

OPTIONS: dict[str, Any] = {
    "maxPoolSize": 8,
    "minPoolSize": 1,
    "maxIdleTimeMS": 1000,
    "waitQueueTimeoutMS": 2000,
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 2000,
    "socketTimeoutMS": 3000,
    "heartbeatFrequencyMS": 1000,
    "retire_after": 1.0,
    "retire_limit": 10.0,
    "slow_checkout_ms": 1000,
    "command_stats": True,
    "heartbeat_stats": True,
}


class LongLoad(Load):
    """So many tasks that operate until they are told to rest, and go on when they are told to.

    Args:
        subject: The pool.
        uri: Of a replica set.
        seed: Of everything random here.
        tasks: How many operate at a time.

    Attributes:
        complaints: What must not happen and did, in words.
        longest_gap: Seconds between two operations that succeeded, rests left out.
    """

    def __init__(self, subject: Subject, uri: str, seed: int, tasks: int) -> None:
        super().__init__(subject, uri, (), seed)
        self.complaints: list[str] = []
        self.longest_gap = 0.0
        self.going = asyncio.Event()
        self._last_success = 0.0
        self._running: dict[int, str] = {}
        self._tasks = [
            asyncio.create_task(self._operate(number), name=f"load-{number}") for number in range(tasks)
        ]

    def start_threads(self) -> None:
        """Let the executor have all its threads now: it starts one whenever none is idle, by chance for hours."""
        all_there = threading.Barrier(THREADS)
        for meeting in [self.threads.submit(all_there.wait, THREADS_LIMIT) for _ in range(THREADS)]:
            meeting.result()

    async def open(self, **options: Any) -> None:
        """Open the pool, or replace its client."""
        await super().open(**{**OPTIONS, **options})

    async def rotate(self) -> None:
        """Replace the client by a new one of the same configuration, but for the witness."""
        witness = Witness()
        await self.subject.call(self.subject.pool.rotate, event_listeners=[witness])
        self.clients.append((self.subject.pool._lifecycle.handle(), witness))

    def go(self) -> None:
        """Operate."""
        self._last_success = time.monotonic()
        self.going.set()

    async def halt(self) -> None:
        """Begin nothing more, and wait until all that was begun has ended."""
        self._note_gap()
        self.going.clear()
        deadline = time.monotonic() + STOP_LIMIT
        while running := self.running():
            if time.monotonic() > deadline:
                self.complain(f"{running} did not end within {STOP_LIMIT:g} s")
                return
            await asyncio.sleep(0.02)

    def running(self) -> list[str]:
        """The names of the operations that have not ended."""
        return sorted(self._running.values())

    async def end(self) -> None:
        """End the tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=STOP_LIMIT)

    def complain(self, what: str) -> None:
        """Keep it, if there are not too many already."""
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(what)

    async def _operate(self, number: int) -> None:
        known = self._operations()
        while True:
            await self.going.wait()
            operation = self.random.choice(known)
            self._running[number] = operation.__name__.strip("_")
            try:
                await self._attempt(operation)
            finally:
                del self._running[number]
            await asyncio.sleep(self.random.uniform(0, 2 * PAUSE))

    async def _attempt(self, operation: Operation) -> None:
        task = asyncio.create_task(operation(self.subject.pool.get_client()))
        cancelled = self.subject.is_async and self.random.random() < CANCELLED
        try:
            if cancelled:
                # What it meets is chance: a wait in either queue, the network, a check-in.
                await asyncio.sleep(self.random.choice((0, 0, 0.0005, 0.002, 0.01)))
                task.cancel()
                self.cancelled += 1
            await task
        except PyMongoError:
            self.failed += 1
        except asyncio.CancelledError:
            if not (cancelled and task.cancelled()):
                # This task itself is ended.
                task.cancel()
                raise
        except Exception as error:
            self.complain(f"{operation.__name__.strip('_')} raised {error!r}")
        else:
            self.done += 1
            self._note_gap()

    def _note_gap(self) -> None:
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self._last_success)
        self._last_success = now

    def _operations(self) -> list[Operation]:
        return [*super()._operations(), self._read_nearby, self._run_again, self._leave_cursor]

    async def _read_nearby(self, client: Any) -> None:
        collection = self._collection(client).with_options(read_preference=ReadPreference.SECONDARY_PREFERRED)
        await self.subject.call(collection.find_one, {"n": self.random.randrange(50)})

    async def _run_again(self, _: Any) -> None:
        wanted = self.random.randrange(50)

        def find(client: Any) -> Any:
            return self._collection(client).find_one({"n": wanted})

        await self.subject.call(self.subject.pool.run, find, idempotent=True, deadline=5)

    async def _leave_cursor(self, client: Any) -> None:
        cursor = self._collection(client).find({}, batch_size=2).limit(6)
        try:
            async for _ in self.subject.documents(cursor):
                break
        finally:
            # What the driver sends then may meet the same fault.
            with suppress(PyMongoError):
                await self.subject.call(cursor.close)
