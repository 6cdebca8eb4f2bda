"""Whatever work is disturbed, however and wherever: nobody hangs, and everybody is told.

Each cell runs one kind of work again and again and disturbs its first, second, third ... step, until there is no
such step: the one worker is held up, the step has to wait, and then it is refused, times out, is cancelled, or
the pool is closed.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from pymongo.errors import InvalidOperation

from async_mongo_pool.backends.admission.calls import FETCHES, FINISHES, read_call
from async_mongo_pool.errors import PoolClosingError, PoolExhaustedError
from tests.pools.subjects import Subject, ping, sleep_on_server

from .entries import ENTRIES, TRANSACTIONS, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.testing import ReplicaSet

BOUND = 5.0
MOST_STEPS = 30

OPTIONS: dict[str, dict[str, Any]] = {
    "refused": {"max_waiting": 0},
    "timed out": {"waitQueueTimeoutMS": 80},
    "out of time": {},
    "cancelled": {},
    "closed": {},
}


class Disturbance:
    """Holds up the only worker when the n-th call comes, for a moment, and says when the call waits."""

    def __init__(self, admission: Any, step: int) -> None:
        self._admission = admission
        self._submit = admission.submit
        self._left = step
        self._free = threading.Event()
        self.reached = asyncio.Event()
        self.goes_ahead = False
        self._blocker: Any = None
        admission.submit = self.submit

    def submit(self, call: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self.goes_ahead = read_call(call)[0] in (FINISHES, FETCHES)
            self._blocker = self._submit(self._hold_up)
            future = self._submit(call)
            self.reached.set()
            return future
        return self._submit(call)

    def _hold_up(self) -> None:
        self._free.wait(0.25)

    async def end(self) -> None:
        self._free.set()
        self._admission.submit = self._submit
        if self._blocker is not None:
            await asyncio.wait([self._blocker], timeout=BOUND)
            self._blocker.exception()


async def run_disturbed(
    entry: Any, how: str, subject: Subject, client: Any, name: str, step: int
) -> tuple[Any, bool]:
    """Run the work and disturb one step; returns the outcome, and whether there was such a step."""
    disturbance = Disturbance(subject.pool._lifecycle.handle().admission, step)
    try:
        with pymongo.timeout(0.12) if how == "out of time" else nullcontext():
            work = asyncio.ensure_future(entry(client, name))
        reached = asyncio.ensure_future(disturbance.reached.wait())
        await asyncio.wait([work, reached], timeout=BOUND, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        if disturbance.reached.is_set():
            await asyncio.sleep(0)
            if how == "cancelled":
                work.cancel()
            elif how == "closed":
                await subject.close(drain=0, timeout=2)
        await asyncio.wait([work], timeout=BOUND)
        assert work.done(), f"step {step} hangs"
        outcome = asyncio.CancelledError() if work.cancelled() else work.exception()
    finally:
        await disturbance.end()
    if how == "refused" and disturbance.goes_ahead:
        assert outcome is None, "what finishes work is never refused for max_waiting"
        return PoolExhaustedError(), True
    return outcome, disturbance.reached.is_set()


def kill_sessions(replica_set: ReplicaSet) -> None:
    """End the transactions that a disturbed program left open on the server, as it does itself after a minute."""
    with replica_set.primary.client() as client:
        client.admin.command("killAllSessions", [])


EXPECTED: dict[str, tuple[type[BaseException], ...]] = {
    "refused": (PoolExhaustedError,),
    "timed out": (PoolExhaustedError,),
    # The driver's own deadline may strike first, in a step before or after the disturbed one.
    "out of time": (PoolExhaustedError, pymongo.errors.PyMongoError),
    "cancelled": (asyncio.CancelledError,),
    # The driver's own words, where Motor goes past the workers, in ending a session for instance.
    "closed": (PoolClosingError, InvalidOperation),
}


@pytest.mark.parametrize("how", OPTIONS)
@pytest.mark.parametrize("name", ENTRIES)
async def test_disturbed_anywhere_nobody_hangs(
    mongodb_replica_set: ReplicaSet, name: str, how: str, wait_until_async: Callable[..., Any]
) -> None:
    subject = Subject("motor")
    uri = mongodb_replica_set.primary.uri

    async def open_pool() -> Any:
        return await subject.initialize(uri, maxPoolSize=1, minPoolSize=0, **OPTIONS[how])

    client = await open_pool()
    await prepare(client, subject.name)
    try:
        for step in range(1, MOST_STEPS):
            outcome, disturbed = await run_disturbed(ENTRIES[name], how, subject, client, subject.name, step)
            if name in TRANSACTIONS:
                await asyncio.to_thread(kill_sessions, mongodb_replica_set)
            if how == "closed":
                client = await open_pool()
            if not disturbed:
                assert outcome is None or how == "out of time", repr(outcome)
                assert step > 1
                return
            assert isinstance(outcome, EXPECTED[how]), f"step {step}: {outcome!r}"
            # The pool is none the worse for it.
            assert (await asyncio.wait_for(ping(client), BOUND))["ok"] == 1
            admission = subject.pool._lifecycle.handle().admission
            await wait_until_async(lambda admission=admission: admission.in_progress() == 0)
        raise AssertionError(f"more than {MOST_STEPS} steps")
    finally:
        await client.drop_database(subject.name)
        await subject.close(drain=0, timeout=3)


@pytest.mark.core
async def test_an_aggregate_asked_again_after_its_refusal_does_not_spin_for_ever(mongodb_uri: str) -> None:
    """Motor's own fault: it takes the cursor that never came to be for one with more to come."""
    subject = Subject("motor")
    client = await subject.initialize(mongodb_uri, maxPoolSize=1, max_waiting=0)
    try:
        running = asyncio.ensure_future(sleep_on_server(client, 0.3))
        await asyncio.sleep(0)
        cursor = client[subject.name].numbers.aggregate([])
        with pytest.raises(PoolExhaustedError):
            await asyncio.wait_for(cursor.to_list(None), BOUND)
        await running
        with pytest.raises(InvalidOperation, match="Make a new cursor"):
            await asyncio.wait_for(cursor.to_list(None), BOUND)
    finally:
        await subject.close(drain=0, timeout=3)
