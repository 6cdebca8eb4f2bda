"""Running the inputs: which kind comes next, what it shows, and the sums."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, TypeAlias

from . import pure, refused
from .record import Findings, Record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .servers import Ground

    Kinds: TypeAlias = Mapping[str, tuple[Callable[[Record], Awaitable[None]], int]]

__all__ = ["in_processes", "run"]

_PORTION = 1000
_PORTION_ON_SERVERS = 250
_LIMIT = 120.0
"""Seconds that one input may take at most."""


def in_processes(without: int, on_servers: int, seed: int, workers: int) -> Findings:
    """Run inputs in several processes and print how far they are; for the rest see ``run``.

    Args:
        without: Inputs that need no server.
        on_servers: Inputs on real ones.
        seed: The same one gives the same inputs, whatever the number of processes.
        workers: How many processes.
    """
    portions = [(0, size) for size in _portions(on_servers, _PORTION_ON_SERVERS)]
    portions += [(size, 0) for size in _portions(without, _PORTION)]
    sums, began, told = Findings(), time.monotonic(), 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        running = [pool.submit(_portion, *sizes, f"{seed}.{number}") for number, sizes in enumerate(portions)]
        for done in as_completed(running):
            sums.merge(done.result())
            count = sums.kinds.total()
            if count >= told + 2500 or count == without + on_servers:
                told = count
                seconds = time.monotonic() - began
                print(
                    f"{count:>9,} of {without + on_servers:,} inputs, {sums.outlets.total():,} texts, "
                    f"{len(sums.leaks)} leaks, {seconds:.0f} s",
                    flush=True,
                )
    return sums


def _portions(count: int, size: int) -> list[int]:
    return [min(size, count - begun) for begun in range(0, count, size)]


def _portion(without: int, on_servers: int, seed: str) -> Findings:
    return asyncio.run(run(without, on_servers, seed))


async def run(without: int, on_servers: int, seed: str) -> Findings:
    """Run so many inputs, and return what they showed.

    Args:
        without: Inputs that need no server.
        on_servers: Inputs on real ones, which are started for them.
        seed: The same one gives the same inputs.
    """
    findings = Findings()
    kinds: Kinds = {name: (_awaitable(function), share) for name, (function, share) in pure.KINDS.items()}
    await _inputs({**kinds, "refused calls of pools": (refused.refused, 8)}, without, seed, findings)
    if on_servers:
        # Here, because the exporters' packages are not everywhere where the rest runs.
        from . import servers

        with servers.Ground() as ground:
            met = {name: (_on(function, ground), share) for name, (function, share) in servers.KINDS.items()}
            await _inputs(met, on_servers, seed, findings)
    return findings


def _awaitable(function: Callable[[Record], None]) -> Callable[[Record], Awaitable[None]]:
    async def call(record: Record) -> None:
        function(record)

    return call


def _on(
    function: Callable[[Record, Ground], Awaitable[None]], ground: Ground
) -> Callable[[Record], Awaitable[None]]:
    async def call(record: Record) -> None:
        await function(record, ground)

    return call


async def _inputs(kinds: Kinds, count: int, seed: str, findings: Findings) -> None:
    names, shares = list(kinds), [share for _, share in kinds.values()]
    choosing: Any = random.Random(f"{seed} of {len(kinds)}")
    for number in range(count):
        name = choosing.choices(names, shares)[0]
        label = f"{name} #{number} of seed {seed}"
        record = Record(name, random.Random(label))
        try:
            with record.listening():
                async with asyncio.timeout(_LIMIT):
                    await kinds[name][0](record)
        except Exception as error:
            raise AssertionError(f"{label} failed: {type(error).__name__}: {error}") from error
        findings.add(record, label)
