"""One backend's part of the long run, in a process of its own: it takes orders and answers in lines of JSON.

    python -m tests.soak.worker --backend motor --uri mongodb://... --seed 1 --tasks 12 --replace-every 60

Each line of the standard input is an order; each is answered by one line of the standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from pymongo.errors import PyMongoError

from async_mongo_pool.exporters import prometheus
from async_mongo_pool.health import AsyncHealthMonitor, HealthMonitor
from tests.pools.subjects import Subject

from .load import LongLoad
from .sample import census, measure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STATS_BOUND = 2.0
# The machine is busy with faults: the bound of get_pool_stats is judged with so much more.
STATS_GRACE = 3.0
REPLACED_LIMIT = 25.0
SETTLING_LIMIT = 6.0
REOPENED_EVERY = 6


class Worker:
    """One backend under load, with everything around it that a service has.

    Args:
        arguments: Those of the command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.subject = Subject(arguments.backend)
        self.load = LongLoad(self.subject, arguments.uri, arguments.seed, arguments.tasks)
        self.replace_every: float = arguments.replace_every
        self.random = random.Random(arguments.seed)
        self.registry = CollectorRegistry()
        self.rests = self.drifts = self.replaced = self.failed_replacements = 0
        self.missed = self._missed_before = 0
        self._chores: list[asyncio.Task[None]] = []
        self._choring = 0
        self._monitor: Any = (AsyncHealthMonitor if self.subject.is_async else HealthMonitor)(
            self.subject.pool, 1.0, require="primary"
        )

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self.load.start_threads()
        loop.set_default_executor(self.load.threads)
        loop.set_exception_handler(self._complain_of_loop)
        prometheus.register(self.subject.pool, registry=self.registry)
        await self.load.open()
        await self.subject.call(self._monitor.start)
        self._chores = [
            asyncio.create_task(self._repeat(self._look, lambda: 1.0), name="looks"),
            asyncio.create_task(
                self._repeat(self._replace, lambda: self.replace_every * self.random.uniform(0.7, 1.3)),
                name="replacements",
            ),
        ]

    async def obey(self, order: str) -> dict[str, Any]:
        """Do what the order says; the answer."""
        orders: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
            "go": self._go,
            "rest": self._rest,
            "size": self._size,
            "census": self._census,
        }
        return await orders[order]()

    async def end(self) -> None:
        for chore in self._chores:
            chore.cancel()
        await self.load.end()
        await self.subject.call(self._monitor.stop)
        await self.subject.close(drain=0, timeout=5)
        # Its threads end when their calls do, which may not be before the process does.
        self.load.threads.shutdown(wait=False, cancel_futures=True)

    async def _go(self) -> dict[str, Any]:
        self.load.go()
        return {}

    async def _rest(self) -> dict[str, Any]:
        """Halt, hold the laws against the truth, and measure."""
        await self.load.halt()
        try:
            async with asyncio.timeout(REPLACED_LIMIT):
                while self._choring or self._replaced_ones():  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self.load.complain(f"replaced clients still live after {REPLACED_LIMIT:g} s: {self._replaced_ones()}")
        await self._compare()
        self.rests += 1
        if self.rests % REOPENED_EVERY == 0:
            await self._reopen()
        await self._settle()
        return {"name": self.subject.name, "sample": measure(), **self._report()}

    async def _compare(self) -> None:
        try:
            await self.load.rest()
            snapshots = await self.load.compare()
        except AssertionError as error:
            self.load.complain(f"a law is broken: {error}")
            # The counts of this client stay wrong: the next one begins anew.
            await self._reopen()
        else:
            *before, last = (snapshot.totals for snapshot in snapshots)
            self._missed_before += sum(totals.events_missed for totals in before)
            self.missed = self._missed_before + last.events_missed
            if last.used or last.waiting:
                self.load.complain(f"at rest {last.used} connections are in use and {last.waiting} wait")
        # Replaced clients are closed by now; what they counted was compared, and may go.
        del self.load.clients[:-1]

    async def _reopen(self) -> None:
        await self.subject.close(drain=1, timeout=5)
        self.load.clients.clear()
        self._missed_before = self.missed
        try:
            await self.load.open(timeout=20)
        except PyMongoError as error:
            self.load.complain(f"the pool did not open again: {error!r}")

    async def _settle(self) -> None:
        """Wait until idle connections are gone, so that each sample has the same ones."""
        deadline = time.monotonic() + SETTLING_LIMIT
        while time.monotonic() < deadline:
            totals = self.subject.pool.snapshot().totals
            if totals.size == totals.min_size and not totals.connecting:
                return
            await asyncio.sleep(0.05)

    async def _size(self) -> dict[str, Any]:
        return {"size": self.subject.pool.snapshot().totals.size}

    async def _census(self) -> dict[str, Any]:
        return {"census": census()}

    def _report(self) -> dict[str, Any]:
        complaints, self.load.complaints = self.load.complaints, []
        return {
            "done": self.load.done,
            "failed": self.load.failed,
            "cancelled": self.load.cancelled,
            "replacements": self.replaced,
            "failed_replacements": self.failed_replacements,
            "drifts": self.drifts,
            "missed": self.missed,
            "longest_gap": self.load.longest_gap,
            "complaints": complaints,
        }

    def _replaced_ones(self) -> list[Any]:
        lifecycle = self.subject.pool._lifecycle
        return [*lifecycle.retired, *lifecycle.closing]

    async def _repeat(self, chore: Callable[[], Awaitable[None]], interval: Callable[[], float]) -> None:
        while True:
            await asyncio.sleep(interval())
            await self.load.going.wait()
            self._choring += 1
            try:
                await chore()
            except Exception as error:
                self.load.complain(f"{chore.__name__.strip('_')} raised {error!r}")
            finally:
                self._choring -= 1

    async def _look(self) -> None:
        """What a service is asked each second: its statistics, and a scrape."""
        began = time.monotonic()
        await self.subject.stats()
        if (seconds := time.monotonic() - began) > STATS_BOUND + STATS_GRACE:
            self.load.complain(f"get_pool_stats took {seconds:.1f} s")
        generate_latest(self.registry)
        snapshot = self.subject.pool.snapshot()
        if snapshot.drift:
            self.drifts += 1
            self.load.complain(f"drift under load: {snapshot.broken_laws}")

    async def _replace(self) -> None:
        replace = self.random.choice((self.load.open, self.load.rotate))
        try:
            await replace()
        except PyMongoError:
            # The old client stays: that is the rule, and the load goes on to hold it.
            self.failed_replacements += 1
        else:
            self.replaced += 1

    def _complain_of_loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.load.complain(f"the event loop says: {context.get('message')} {context.get('exception')!r}")


def _orders(loop: asyncio.AbstractEventLoop, queue: asyncio.Queue[str | None]) -> None:
    # The end of the input is an order too: whoever gave them is gone.
    with suppress(RuntimeError):
        for line in sys.stdin:
            loop.call_soon_threadsafe(queue.put_nowait, line.strip())
        loop.call_soon_threadsafe(queue.put_nowait, None)


async def work(arguments: argparse.Namespace) -> None:
    worker = Worker(arguments)
    orders: asyncio.Queue[str | None] = asyncio.Queue()
    threading.Thread(target=_orders, args=(asyncio.get_running_loop(), orders), name="orders", daemon=True).start()
    try:
        await worker.start()
        _answer({})
        while (order := await orders.get()) is not None:
            _answer(await worker.obey(order))
    finally:
        await worker.end()


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", required=True)
    parser.add_argument("--uri", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--replace-every", type=float, required=True, help="seconds")
    # Replacements and faults are what this is about; they would be told of thousands of times.
    logging.getLogger("async_mongo_pool").setLevel(logging.ERROR)
    # And the driver tells of each background task that met one.
    logging.getLogger("pymongo").setLevel(logging.CRITICAL)
    asyncio.run(work(parser.parse_args()))


if __name__ == "__main__":
    main()
