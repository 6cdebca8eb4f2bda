"""The calls that probes make, as class methods for the two pools."""

from __future__ import annotations

from concurrent.futures import wait
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from async_mongo_pool.daemon import wait_in_loop

from .asking import check_seconds, check_terms, inquiry, liveness_of
from .judge import FALL, RISE

if TYPE_CHECKING:
    from async_mongo_pool.lifecycle import Lifecycle

    from .judge import Terms
    from .results import Liveness, Readiness, Require

__all__ = ["AsyncHealth", "SyncHealth", "find_out", "find_out_blocking"]


class _Health:
    _lifecycle: ClassVar[Lifecycle]

    @classmethod
    def liveness(cls) -> Liveness:
        """Whether this process lives: from memory, at once, and whatever the database does.

        For a liveness probe, whose failure restarts the process: a restart mends no database.
        """
        return liveness_of(cls._lifecycle)


class AsyncHealth(_Health):
    """``liveness`` and ``readiness`` for asyncio."""

    @classmethod
    async def readiness(
        cls,
        require: Require = "any",
        *,
        timeout: float = 1.0,
        max_age: float = 1.0,
        fall: int = FALL,
        rise: int = RISE,
    ) -> Readiness:
        """Whether the pool can serve; any event loop may ask, and nothing that a server does makes it raise.

        It is judged by the driver's heartbeats, and by a ping where a connection is free. Probers with the same
        ``require``, ``fall`` and ``rise``, and about the same ``timeout``, share one ping, and cancelling one of
        them cancels no other.

        Args:
            require: "any" server that can be read, or one that takes writes ("primary").
            timeout: Seconds after which the answer is there in any case.
            max_age: Seconds for which an earlier answer is good enough; 0 looks anew.
            fall: Bad signs in a row after which a ready pool is down: a failed ping is one, heartbeats that
                know no server as required another.
            rise: Good signs in a row after which it is ready again.

        Raises:
            PoolConfigurationError: An argument cannot be used.
        """
        terms = check_terms(require, fall, rise)
        seconds = check_seconds("timeout", timeout)
        return await find_out(cls._lifecycle, terms, seconds, check_seconds("max_age", max_age, zero=True))


class SyncHealth(_Health):
    """``liveness`` and ``readiness`` for threads."""

    @classmethod
    def readiness(
        cls,
        require: Require = "any",
        *,
        timeout: float = 1.0,
        max_age: float = 1.0,
        fall: int = FALL,
        rise: int = RISE,
    ) -> Readiness:
        """Whether the pool can serve; any thread may ask, and nothing that a server does makes it raise.

        It is judged by the driver's heartbeats, and by a ping where a connection is free. Probers with the same
        ``require``, ``fall`` and ``rise``, and about the same ``timeout``, share one ping.

        Args:
            require: "any" server that can be read, or one that takes writes ("primary").
            timeout: Seconds after which the answer is there in any case.
            max_age: Seconds for which an earlier answer is good enough; 0 looks anew.
            fall: Bad signs in a row after which a ready pool is down: a failed ping is one, heartbeats that
                know no server as required another.
            rise: Good signs in a row after which it is ready again.

        Raises:
            PoolConfigurationError: An argument cannot be used.
        """
        terms = check_terms(require, fall, rise)
        seconds = check_seconds("timeout", timeout)
        return find_out_blocking(cls._lifecycle, terms, seconds, check_seconds("max_age", max_age, zero=True))


async def find_out(lifecycle: Lifecycle, terms: Terms, timeout: float, max_age: float) -> Readiness:
    """Wait in the running event loop for what an inquiry waits for."""
    steps = inquiry(lifecycle, terms, timeout, max_age)
    while True:
        try:
            future, seconds = next(steps)
        except StopIteration as end:
            answer: Readiness = end.value
            return answer
        with suppress(TimeoutError):
            await wait_in_loop(future, seconds)


def find_out_blocking(lifecycle: Lifecycle, terms: Terms, timeout: float, max_age: float) -> Readiness:
    """Wait in this thread for what an inquiry waits for."""
    steps = inquiry(lifecycle, terms, timeout, max_age)
    while True:
        try:
            future, seconds = next(steps)
        except StopIteration as end:
            answer: Readiness = end.value
            return answer
        wait((future,), seconds)
