"""Motor with our admission beside plain Motor: throughput at several latencies and numbers of tasks.

The two take turns in one process, on one mongod; the server's latency comes from the fail point
``blockConnection``, the connections are open before anything is measured (but for the cold burst), and all
statistics of ours are on. The figures are medians over the turns, the ratio is the median of the ratios of
each turn.

    python -m benchmarks.admission [--turns 5] [--seconds 1] [--only NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient

from async_mongo_pool import AsyncMongoDBConnectionPool
from async_mongo_pool.testing import Mongod

from .table import show, surroundings

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = 100
COMMAND = "ping"


@dataclass(frozen=True)
class Scenario:
    """So many tasks, each repeating one operation that the server answers after so many milliseconds."""

    name: str
    tasks: int
    milliseconds: int
    seconds: float = 1.0
    goal: float | None = None
    limit: float | None = None


SCENARIOS = (
    Scenario("50ms-100", 100, 50, 5.0, limit=2000),
    Scenario("10ms-100", 100, 10, 2.0, goal=3.0, limit=10_000),
    Scenario("3ms-100", 100, 3, 1.0),
    Scenario("fast-1", 1, 0, goal=1.0),
    Scenario("fast-10", 10, 0, goal=1.2),
    Scenario("fast-100", 100, 0, goal=1.2),
    Scenario("fast-1000", 1000, 0),
    Scenario("fast-10000", 10_000, 0, 3.0),
)


async def throughput(client: Any, tasks: int, seconds: float) -> float:
    """Operations per second of tasks that each wait for one operation after another."""
    collection = client.benchmark.documents
    done = 0
    end = time.perf_counter() + seconds

    async def user() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await collection.find_one()
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(user() for _ in range(tasks)))
    return done / (time.perf_counter() - began)


async def fill(client: Any, mongod: Mongod) -> None:
    """Open every connection: as many operations at once as there may be connections."""
    await client.benchmark.documents.insert_one({"text": "x" * 100})
    for _ in range(40):
        await asyncio.gather(*(client.admin.command("sleep", millis=60, lock="none") for _ in range(CONNECTIONS)))
        if len(await asyncio.to_thread(mongod.connections, "ours")) >= CONNECTIONS:
            return


def latency(mongod: Mongod, milliseconds: int) -> Any:
    if not milliseconds:
        return nullcontext()
    data = {"failCommands": ["find"], "blockConnection": True, "blockTimeMS": milliseconds}
    return mongod.fail_point("failCommand", data=data)


async def measure(
    scenario: Scenario, mongod: Mongod, contestants: dict[str, Any], turns: int, scale: float
) -> dict[str, Any]:
    found: dict[str, list[float]] = {name: [] for name in contestants}
    block = latency(mongod, scenario.milliseconds)
    await asyncio.to_thread(block.__enter__)
    try:
        for turn in range(turns):
            names = list(contestants) if turn % 2 else list(reversed(contestants))
            for name in names:
                await throughput(contestants[name], scenario.tasks, 0.2 * scale)
                found[name].append(await throughput(contestants[name], scenario.tasks, scenario.seconds * scale))
    finally:
        await asyncio.to_thread(block.__exit__, None, None, None)
    return figures(scenario.name, found, scenario.goal, scenario.limit)


def figures(
    name: str, found: dict[str, list[float]], goal: float | None = None, limit: float | None = None
) -> dict[str, Any]:
    ratios = [ours / plain for ours, plain in zip(found["ours"], found["motor"], strict=True)]
    ours = statistics.median(found["ours"])
    return {
        "name": name,
        "ours_median": ours,
        "motor_median": statistics.median(found["motor"]),
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "goal": goal,
        "of_limit": ours / limit if limit else None,
    }


async def cold_burst(mongod: Mongod, turns: int) -> dict[str, Any]:
    """A hundred operations of 50 ms on a client that has no connection yet: operations per second."""
    found: dict[str, list[float]] = {"ours": [], "motor": []}
    block = latency(mongod, 50)
    await asyncio.to_thread(block.__enter__)
    try:
        for turn in range(turns):
            pool = AsyncMongoDBConnectionPool.named(f"cold{turn}")
            client: Any = await pool.initialize(mongod.uri, maxPoolSize=CONNECTIONS, minPoolSize=0)
            plain: Any = AsyncIOMotorClient(mongod.uri, maxPoolSize=CONNECTIONS)
            await plain.admin.command("ping")
            for name, contestant in (("ours", client), ("motor", plain)):
                began = time.perf_counter()
                await asyncio.gather(*(contestant.benchmark.documents.find_one() for _ in range(100)))
                found[name].append(100 / (time.perf_counter() - began))
            plain.close()
            await pool.close(drain=0, timeout=3)
    finally:
        await asyncio.to_thread(block.__exit__, None, None, None)
    return figures("cold-burst", found)


async def ramps(client: Any, mongod: Mongod) -> dict[str, Any]:
    """How long a synchronized burst of 100 x 50 ms takes on open connections: right after fast work, and again."""
    after_fast: list[float] = []
    again: list[float] = []
    block = latency(mongod, 50)
    for _ in range(5):
        await throughput(client, 100, 0.3)
        await asyncio.to_thread(block.__enter__)
        try:
            for into in (after_fast, again):
                began = time.perf_counter()
                await asyncio.gather(*(client.benchmark.documents.find_one() for _ in range(100)))
                into.append((time.perf_counter() - began) * 1000)
        finally:
            await asyncio.to_thread(block.__exit__, None, None, None)
        block = latency(mongod, 50)
    return {
        "name": "burst",
        "after_fast_work_median_ms": statistics.median(after_fast),
        "again_median_ms": statistics.median(again),
    }


async def neighbour(mongod: Mongod, contestants: dict[str, Any], turns: int) -> dict[str, Any]:
    """The latency of a second client's fast operations while the first one is saturated with slow ones."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    pool = AsyncMongoDBConnectionPool.named("neighbour")
    others: dict[str, Any] = {
        "ours": await pool.initialize(mongod.uri, appName="neighbour"),
        "motor": AsyncIOMotorClient(mongod.uri, appName="neighbour"),
    }
    for _ in range(turns):
        for name, contestant in contestants.items():
            alone = await latencies(others[name])
            slow = [
                asyncio.ensure_future(contestant.admin.command("sleep", millis=500, lock="none"))
                for _ in range(CONNECTIONS + 20)
            ]
            await asyncio.sleep(0.05)
            found[name].append(await latencies(others[name]) / alone)
            await asyncio.gather(*slow)
    others["motor"].close()
    await pool.close(drain=0, timeout=3)
    return {"name": "neighbour", **{f"{name}_slower_by": statistics.median(found[name]) for name in found}}


async def latencies(client: Any) -> float:
    samples = []
    end = time.perf_counter() + 0.4
    while time.perf_counter() < end:
        began = time.perf_counter()
        await client.benchmark.documents.find_one()
        samples.append(time.perf_counter() - began)
    return statistics.median(samples)


async def run(mongod: Mongod, turns: int, scale: float, chosen: Callable[[str], bool]) -> list[dict[str, Any]]:
    pool = AsyncMongoDBConnectionPool.named("ours")
    ours = await pool.initialize(
        mongod.uri, appName="ours", maxPoolSize=CONNECTIONS, waitQueueTimeoutMS=120_000, command_stats=True
    )
    plain: Any = AsyncIOMotorClient(mongod.uri, maxPoolSize=CONNECTIONS)
    contestants: dict[str, Any] = {"ours": ours, "motor": plain}
    found = []
    try:
        for client in contestants.values():
            await fill(client, mongod)
        for scenario in SCENARIOS:
            if chosen(scenario.name):
                found.append(await measure(scenario, mongod, contestants, turns, scale))
                print(line(found[-1]), flush=True)
        if chosen("burst"):
            found.append(await ramps(ours, mongod))
            print(found[-1], flush=True)
        if chosen("neighbour"):
            found.append(await neighbour(mongod, contestants, turns))
            print(found[-1], flush=True)
        if chosen("cold-burst"):
            found.append(await cold_burst(mongod, turns))
            print(line(found[-1]), flush=True)
    finally:
        plain.close()
        await pool.close(drain=0, timeout=5)
    return found


def line(each: dict[str, Any]) -> str:
    return "  ".join(row(each))


def row(each: dict[str, Any]) -> tuple[str, ...]:
    spread = f"{each['ratio_min']:.2f}..{each['ratio_max']:.2f}"
    goal = "" if each["goal"] is None else f"{each['goal']:g}"
    of_limit = "" if each["of_limit"] is None else f"{each['of_limit']:.2f}"
    rates = (f"{each['ours_median']:.0f}", f"{each['motor_median']:.0f}")
    return (each["name"], *rates, f"{each['ratio_median']:.2f}", spread, goal, of_limit)


def main() -> None:
    parser = argparse.ArgumentParser(description="Motor with our admission beside plain Motor.")
    parser.add_argument("--turns", type=int, default=5, help="turns of each contestant (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the scenarios' seconds (default: 1)")
    parser.add_argument("--only", nargs="*", help="names of scenarios (default: all)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()

    def chosen(name: str) -> bool:
        return not arguments.only or name in arguments.only

    with Mongod() as mongod:
        found = asyncio.run(run(mongod, max(arguments.turns, 1), arguments.scale, chosen))
    headings = ("scenario", "ours median op/s", "Motor op/s", "ratio", "spread", "goal", "of limit")
    show("Operations per second", headings, [row(each) for each in found if "ratio_median" in each])
    if arguments.json:
        arguments.json.write_text(json.dumps({"surroundings": surroundings(), "cases": found}, indent=2))


if __name__ == "__main__":
    main()
