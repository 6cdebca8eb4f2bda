"""What ``initialize`` costs on a pool that is open already, and what ``get_client`` costs.

Each case is measured in many short batches. The cases take turns, in an order that rotates, so that a slow
moment of the machine hits all of them. The loop around an empty coroutine and an empty class method is
measured beside them and shown; nothing is subtracted.

    python -m benchmarks.fast_path [--repeats 60] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool
from async_mongo_pool.testing import Mongod

from .table import show, surroundings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 2000
INITIALIZE_BUDGET = 2.0
GET_CLIENT_BUDGET = 0.2


@dataclass
class Case:
    """One call, the batch that repeats it, and the microseconds per call of each batch."""

    name: str
    batch: Callable[[], Awaitable[None]]
    budget: float | None = None
    samples: list[float] = field(default_factory=list)

    async def measure(self) -> None:
        began = time.perf_counter()
        await self.batch()
        self.samples.append((time.perf_counter() - began) / CALLS * 1e6)

    def figures(self) -> dict[str, Any]:
        tenths = statistics.quantiles(self.samples, n=10)
        median = statistics.median(self.samples)
        return {
            "name": self.name,
            "median_us": median,
            "p10_us": tenths[0],
            "p90_us": tenths[-1],
            "budget_us": self.budget,
            "within_budget": None if self.budget is None else median <= self.budget,
        }


class Empty:
    """What the loop itself costs."""

    @classmethod
    async def coroutine(cls, connection: str | None = None, **options: Any) -> None:
        return None

    @classmethod
    def method(cls, name: str | None = None) -> None:
        return None


async def empty_coroutine() -> None:
    for _ in range(CALLS):
        await Empty.coroutine("mongodb://localhost")


async def empty_method() -> None:
    for _ in range(CALLS):
        Empty.method()


async def asynchronous_cases(uri: str, backend: Any) -> list[Case]:
    pool: Any = AsyncMongoDBConnectionPool.named(f"{backend} benchmark")
    tuned: Any = AsyncMongoDBConnectionPool.named(f"{backend} benchmark with options")
    await pool.initialize(uri, backend=backend)
    await tuned.initialize(uri, backend=backend, maxPoolSize=200, minPoolSize=5, appName="benchmark")

    async def without_options() -> None:
        for _ in range(CALLS):
            await pool.initialize(uri, backend=backend)

    async def with_options() -> None:
        for _ in range(CALLS):
            await tuned.initialize(uri, backend=backend, maxPoolSize=200, minPoolSize=5, appName="benchmark")

    async def without_arguments() -> None:
        for _ in range(CALLS):
            await pool.initialize()

    async def get_client() -> None:
        for _ in range(CALLS):
            pool.get_client()

    return [
        Case(f"{backend}: await initialize()", without_arguments, INITIALIZE_BUDGET),
        Case(f"{backend}: await initialize(uri)", without_options, INITIALIZE_BUDGET),
        Case(f"{backend}: await initialize(uri, 3 options)", with_options, INITIALIZE_BUDGET),
        Case(f"{backend}: get_client()", get_client, GET_CLIENT_BUDGET),
    ]


def synchronous_cases(uri: str) -> list[Case]:
    pool = MongoDBConnectionPool.named("benchmark")
    tuned = MongoDBConnectionPool.named("benchmark with options")
    pool.initialize(uri)
    tuned.initialize(uri, maxPoolSize=200, minPoolSize=5, appName="benchmark")

    async def without_options() -> None:
        for _ in range(CALLS):
            pool.initialize(uri)

    async def with_options() -> None:
        for _ in range(CALLS):
            tuned.initialize(uri, maxPoolSize=200, minPoolSize=5, appName="benchmark")

    async def get_client() -> None:
        for _ in range(CALLS):
            pool.get_client()

    return [
        Case("twin: initialize(uri)", without_options, INITIALIZE_BUDGET),
        Case("twin: initialize(uri, 3 options)", with_options, INITIALIZE_BUDGET),
        Case("twin: get_client()", get_client, GET_CLIENT_BUDGET),
    ]


async def measure(uri: str, repeats: int) -> list[Case]:
    cases = [Case("an empty coroutine, awaited", empty_coroutine), Case("an empty class method", empty_method)]
    for backend in ("motor", "pymongo"):
        cases += await asynchronous_cases(uri, backend)
    cases += synchronous_cases(uri)
    try:
        for turn in range(repeats):
            first = turn % len(cases)
            gc.collect()
            gc.disable()
            try:
                for case in cases[first:] + cases[:first]:
                    await case.measure()
            finally:
                gc.enable()
    finally:
        await AsyncMongoDBConnectionPool.close_all(drain=0, timeout=3)
        await asyncio.to_thread(MongoDBConnectionPool.close_all, drain=0, timeout=3)
    return cases


def row(figures: dict[str, Any]) -> tuple[str, ...]:
    budget = figures["budget_us"]
    verdict = "" if budget is None else f"{budget:g}" if figures["within_budget"] else f"{budget:g} (over)"
    microseconds = (f"{figures[key]:.3f}" for key in ("median_us", "p10_us", "p90_us"))
    return (figures["name"], *microseconds, verdict)


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of the calls that a service makes for each request.")
    parser.add_argument("--repeats", type=int, default=60, help="batches of each case (default: 60)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    with Mongod() as mongod:
        cases = asyncio.run(measure(mongod.uri, max(arguments.repeats, 2)))
    figures = [case.figures() for case in cases]
    title = f"Microseconds per call: {arguments.repeats} batches of {CALLS} calls each, taking turns"
    show(title, ("call", "median", "p10", "p90", "budget"), [row(each) for each in figures])
    if arguments.json:
        arguments.json.write_text(json.dumps({"surroundings": surroundings(), "cases": figures}, indent=2))


if __name__ == "__main__":
    main()
