"""What is done to the replica set: one fault at a time, picked by a seed, and its end."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from async_mongo_pool.testing import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from async_mongo_pool.testing import Mongod
    from tests.faults.proxy import FaultProxy
    from tests.faults.replica_set import ProxiedReplicaSet

__all__ = ["KINDS", "Faults"]

HEALTHY_LIMIT = 120.0
_OPERATIONS = ["find", "insert", "update", "aggregate", "getMore", "commitTransaction"]
_FAIL_POINTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "closeConnection": ({"activationProbability": 0.02}, {"closeConnection": True}),
    "blockConnection": ({"activationProbability": 0.05}, {"blockConnection": True, "blockTimeMS": 200}),
    "error 91": ({"times": 5}, {"errorCode": 91}),
    "error 10107": ({"times": 5}, {"errorCode": 10107}),
}
_FREEZE = 10
"""Seconds for which a primary that stepped down may not be elected again."""


class Faults:
    """Faults of one replica set.

    Args:
        deployment: The replica set, running.
        seed: Which faults come, and whom they meet.
    """

    def __init__(self, deployment: ProxiedReplicaSet, seed: int) -> None:
        self._deployment = deployment
        self._random = random.Random(seed)
        self._left: list[str] = []

    def next(self) -> str:
        """The next kind: each comes once before any comes again, in an order by chance."""
        if not self._left:
            self._left = self._random.sample(sorted(KINDS), len(KINDS))
        return self._left.pop()

    def strike(self, kind: str, seconds: float) -> None:
        """Begin the fault, let it last, end it, and wait until the set is healthy.

        Raises:
            ServerError: The set did not become healthy again.
        """
        try:
            with KINDS[kind](self):
                time.sleep(seconds)
        finally:
            self._deployment.heal()
        self._deployment.wait_until_healthy(HEALTHY_LIMIT)

    def _somebody(self) -> Mongod:
        # The primary half of the time: it is the one that hurts.
        members = self._deployment.members
        return self._deployment.primary if self._random.random() < 0.5 else self._random.choice(members)

    def _proxy(self) -> FaultProxy:
        return self._deployment.proxy_of(self._somebody())

    @contextmanager
    def _reset(self) -> Iterator[None]:
        for proxy in self._deployment.proxies:
            proxy.reset()
        yield
        for proxy in self._deployment.proxies:
            proxy.reset()

    @contextmanager
    def _kill(self) -> Iterator[None]:
        victim = self._somebody()
        victim.kill()
        try:
            yield
        finally:
            victim.restart()

    @contextmanager
    def _step_down(self) -> Iterator[None]:
        # A machine as busy as this one may elect anew by itself: then there is nobody left to step down.
        try:
            self._deployment.step_down(_FREEZE)
        except ServerError:
            self._deployment.wait_until_healthy(HEALTHY_LIMIT)
        yield

    @contextmanager
    def _suspend(self) -> Iterator[None]:
        victim = self._somebody()
        victim.suspend()
        try:
            yield
        finally:
            victim.resume()

    @contextmanager
    def _blackhole(self) -> Iterator[None]:
        self._proxy().blackhole()
        yield

    @contextmanager
    def _deafen(self) -> Iterator[None]:
        self._proxy().deafen()
        yield

    @contextmanager
    def _cut(self) -> Iterator[None]:
        self._proxy().cut()
        yield

    @contextmanager
    def _latency(self) -> Iterator[None]:
        for proxy in self._deployment.proxies:
            proxy.latency(0.05, 0.05)
        yield

    @contextmanager
    def _trickle(self) -> Iterator[None]:
        for proxy in self._deployment.proxies:
            proxy.trickle(to_client=20_000)
        yield

    @contextmanager
    def _fail(self, name: str) -> Iterator[None]:
        mode, data = _FAIL_POINTS[name]
        with ExitStack() as switched_on:
            for member in self._deployment.members:
                switched_on.enter_context(
                    member.fail_point("failCommand", mode, {"failCommands": _OPERATIONS, **data})
                )
            yield


def _failing(name: str) -> Callable[[Faults], Any]:
    return lambda faults: faults._fail(name)


KINDS: dict[str, Callable[[Faults], Any]] = {
    "reset": Faults._reset,
    "kill -9": Faults._kill,
    "step down": Faults._step_down,
    "SIGSTOP": Faults._suspend,
    "blackhole": Faults._blackhole,
    "deafen": Faults._deafen,
    "cut": Faults._cut,
    "latency": Faults._latency,
    "trickle": Faults._trickle,
    **{name: _failing(name) for name in _FAIL_POINTS},
}
