"""What is true after a storm: each finding is a figure, what it must be, and whether it is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from async_mongo_pool.backends import driver_state
from async_mongo_pool.testing.waiting import wait_until_async
from tests.pools.subjects import ping, sleep_on_server

from .storm import CONNECTIONS, cursors_open, server_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from async_mongo_pool.testing import Server

    from .storm import Storm

SOON = 5.0
"""Seconds within which the driver's background thread has surely sent what it collected (killCursors)."""
UNJUDGED = 2.0
"""Seconds for the same where something may stay, and is only reported."""
TRANSACTION_LIFE = 150.0
"""Seconds within which the server ends every transaction by itself: it looks at 60 s of age, each 30 s."""
_HOLD_SECONDS = (0.5, 1, 2, 4, 8)


@dataclass(frozen=True)
class Finding:
    """One figure.

    Attributes:
        what: In words.
        found: As it is.
        wanted: As it must be; None when it is only reported.
    """

    what: str
    found: Any
    wanted: Any = None

    @property
    def holds(self) -> bool:
        return self.wanted is None or self.found == self.wanted


async def look(storm: Storm, server: Server) -> list[Finding]:
    """Everything but what ``Kept`` looks at; waits, bounded, for what takes its time."""
    findings = [Finding("failures of work, cancelled or spared", _failures(storm), {})]
    findings.append(await _checked("at rest in snapshot and driver", storm.rest))
    findings.extend(_numbers(storm))
    findings.append(await _checked("snapshot as witness and driver count", storm.compare))
    findings.append(Finding("operations at once, each with its connection", await slots(storm), CONNECTIONS))
    findings.append(await _checked("at rest again", storm.rest))
    findings.extend(await _on_server(storm, server))
    findings.append(await _checked("guests: nothing left, and open again", lambda: _guests(storm, server)))
    return findings


def _failures(storm: Storm) -> dict[str, dict[str, int]]:
    return {kind: dict(tally.failures) for kind, tally in storm.tallies.items() if tally.failures}


async def _checked(what: str, check: Callable[[], Awaitable[object]]) -> Finding:
    try:
        await check()
    except (AssertionError, TimeoutError) as error:
        return Finding(what, f"no: {error}", "yes")
    return Finding(what, "yes", "yes")


def _numbers(storm: Storm) -> Iterable[Finding]:
    handle, _ = storm.clients[-1]
    snapshot = storm.subject.pool.snapshot()
    totals = snapshot.totals
    yield Finding("in use, waiting, drift", (totals.used, totals.waiting, snapshot.drift), (0, 0, 0))
    (pool,) = driver_state.pools_now(handle.driver_client).values()
    yield Finding(
        "driver's pool: checked out, connecting, asked for, at its lock",
        (pool.placed, pool.connecting, pool.asked, pool.entering),
        (0, 0, 0, 0),
    )


async def slots(storm: Storm) -> int:
    """How many operations hold a connection at the same time, by our count and by the driver's."""
    client = storm.subject.pool.get_client()
    most = 0
    for seconds in _HOLD_SECONDS:
        # Those that come first wait for those that still have to connect: longer, where that takes longer.
        held = [
            asyncio.ensure_future(storm.subject.call(sleep_on_server, client, seconds)) for _ in range(CONNECTIONS)
        ]
        while not all(each.done() for each in held):
            most = max(most, _used(storm))
            await asyncio.sleep(0.01)
        answers = await asyncio.gather(*held, return_exceptions=True)
        assert all(isinstance(answer, dict) and answer["ok"] == 1 for answer in answers), answers
        if most >= CONNECTIONS:
            break
    return most


def _used(storm: Storm) -> int:
    handle, _ = storm.clients[-1]
    return min(handle.snapshot().totals.used, sum(driver_state.checked_out(handle.driver_client) or ()))


async def _on_server(storm: Storm, server: Server) -> Iterable[Finding]:
    """Transactions are aborted at once, or end by the server's own limit; the driver kills cursors.

    Where a deadline interrupts a transaction of the twin, its abort comes too late to be sent within it.
    """
    judged = storm.subject.is_async
    left: list[int] = []

    def transactions() -> bool:
        left[:] = [server_status(server)["transactions"]["currentOpen"]]
        return left == [0]

    began = time.monotonic()
    bound = SOON if judged else UNJUDGED
    soon = await _becomes(transactions, bound)
    findings = [Finding(f"open transactions after {bound:g} s", left[0], 0 if judged else None)]
    if judged and not soon:
        await _becomes(transactions, TRANSACTION_LIFE)
        findings.append(Finding(f"open transactions after {time.monotonic() - began:.0f} s", left[0], 0))
    return [*findings, await _cursors(storm, server)]


async def _cursors(storm: Storm, server: Server) -> Finding:
    # A direct cancellation on AsyncMongoClient, or a deadline in the twin, may lose the answer that names it.
    by_run = storm.subject.is_async and set(storm.tallies) == {"run"}
    judged = storm.subject.backend == "motor" or by_run
    await _becomes(lambda: cursors_open(server) == storm.cursors_before, SOON if judged else UNJUDGED)
    left = cursors_open(server) - storm.cursors_before
    return Finding("cursors left open on the server", left, 0 if judged else None)


async def _becomes(condition: Callable[[], bool], timeout: float) -> bool:
    try:
        await wait_until_async(lambda: asyncio.to_thread(condition), timeout, interval=0.2)
    except TimeoutError:
        return False
    return True


async def _guests(storm: Storm, server: Server) -> None:
    for guest in storm.guests:
        await guest.close(drain=0, timeout=5)
        await wait_until_async(partial(_has_left, server, guest.name), 10, f"{guest.name} to leave the server")
        client = await guest.initialize(storm.uri, maxPoolSize=3, minPoolSize=1)
        assert (await guest.call(ping, client))["ok"] == 1
        await guest.close(drain=0, timeout=5)


async def _has_left(server: Server, name: str) -> bool:
    return not await asyncio.to_thread(server.connections, name)


class Kept:
    """The connections of a pool as the server numbers them: whether all are still there later.

    Args:
        storm: At rest.
        server: Its only one.
    """

    def __init__(self, storm: Storm, server: Server) -> None:
        self._storm = storm
        self._server = server
        self._created = self._count()
        self._before = self._numbers()

    def _count(self) -> int:
        return int(self._storm.subject.pool.snapshot().totals.connections_created)

    def _numbers(self) -> set[int]:
        return {each["connectionId"] for each in self._server.connections(self._storm.subject.name)}

    def findings(self) -> list[Finding]:
        return [
            Finding("connections created in the storm", self._count() - self._created, 0),
            Finding("of them lost, by the server's numbers", len(self._before - self._numbers()), 0),
        ]
