"""What goes wrong: each fault strikes a replica set behind proxies, lasts, and is undone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from async_mongo_pool.testing import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.replica_set import ProxiedReplicaSet

__all__ = ["FAULTS", "Fault"]

RESET_INTERVAL = 0.5
A_MEMBER = b"internalClient"
"""Stands in the first message of a member to another one, and of no client."""
STEP_DOWN_ATTEMPTS = 3


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    Attributes:
        name: As on the command line.
        seconds: How long it lasts.
        strike: Does it to the set and undoes it after so many seconds.
        silent: Whether the primary says nothing more, and another one is elected.
        borne: Whether the members bear it, and neither elect a primary nor leave one another.
    """

    name: str
    seconds: float
    strike: Callable[[ProxiedReplicaSet, float], None]
    silent: bool = False
    borne: bool = False


def _resets(replica_set: ProxiedReplicaSet, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for proxy in replica_set.proxies:
            proxy.reset(sparing=A_MEMBER)
        time.sleep(RESET_INTERVAL)


def _kill(replica_set: ProxiedReplicaSet, seconds: float) -> None:
    victim = replica_set.primary
    victim.kill()
    time.sleep(seconds)
    victim.restart()


def _step_down(replica_set: ProxiedReplicaSet, seconds: float) -> None:
    end = time.monotonic() + seconds
    for attempts_left in range(STEP_DOWN_ATTEMPTS - 1, -1, -1):
        try:
            replica_set.step_down()
            break
        except ServerError:
            # Under load it may not get its lock in time.
            if not attempts_left:
                raise
    time.sleep(max(0.0, end - time.monotonic()))


def _stall(replica_set: ProxiedReplicaSet, seconds: float) -> None:
    for proxy in replica_set.proxies:
        proxy.deafen()
    time.sleep(seconds)
    replica_set.heal()


def _freeze(replica_set: ProxiedReplicaSet, seconds: float) -> None:
    victim = replica_set.primary
    victim.suspend()
    try:
        time.sleep(seconds)
    finally:
        victim.resume()


def _partition(replica_set: ProxiedReplicaSet, seconds: float) -> None:
    replica_set.proxy_of(replica_set.primary).blackhole()
    time.sleep(seconds)
    replica_set.heal()


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("resets", 5, _resets),
        Fault("kill", 8, _kill),
        Fault("stepdown", 4, _step_down),
        Fault("stall", 8, _stall, borne=True),
        Fault("sigstop", 15, _freeze, silent=True),
        Fault("partition", 15, _partition, silent=True),
    )
}
"""
resets: Every connection of a client is reset, every half a second for 5 s. Not those between members: they would
    leave each other alone for 10 s, and the set would have no majority meanwhile.
kill: SIGKILL of the primary, which is started again after 8 s.
stepdown: The primary is told to step down.
stall: The network stands still for 8 s, for clients and members, and then delivers everything; no election.
sigstop: SIGSTOP of the primary for 15 s.
partition: Nothing that is sent to the primary arrives, and nothing that it answers, for 15 s. It still reaches the
    other members by the connections that it opens itself, and so learns that it is no longer the primary.
"""
