"""One fault under several contestants at once, and the figures of each."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pymongo import MongoClient
from pymongo.read_concern import ReadConcern

from .contestants import DATABASE
from .servers import Witness
from .writers import Writers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.replica_set import ProxiedReplicaSet

    from .contestants import Contestant
    from .failures import Fault

__all__ = ["Figures", "longest_gap", "observe"]

BEFORE = 1.0
AFTER = 1.0
RECOVERY_LIMIT = 45.0
HEALTH_LIMIT = 60.0


@dataclass(frozen=True)
class Figures:
    """What one contestant made of one fault.

    Attributes:
        backend: The contestant's.
        kind: Plain, ours, or with the preset.
        fault: The fault's name.
        acknowledged: Writes that the driver said were done.
        lost: Of these, those that are not in the database afterwards.
        failed: Writes that ended with an error.
        errors: The same by class of error.
        hanging: Writes that never returned.
        clears: How often the driver cleared its pools; 0 for plain drivers, which do not tell.
        gap: The longest time in seconds in which no write was acknowledged.
        set_gap: The same of a witness that asks each member directly: the servers' own part of it.
        slowest: Seconds that the longest single write took.
    """

    backend: str
    kind: str
    fault: str
    acknowledged: int
    lost: int
    failed: int
    errors: dict[str, int]
    hanging: int
    clears: int
    gap: float
    set_gap: float
    slowest: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def observe(
    replica_set: ProxiedReplicaSet, contestants: Sequence[Contestant], fault: Fault, **how: Any
) -> list[Figures]:
    """Let all of them write while the fault strikes; the same fault, at the same moment, for each.

    Args:
        replica_set: Healthy, before and afterwards.
        contestants: Who writes, all at once.
        fault: What happens.
        how: Options of `Writers`.
    """
    run = uuid4().hex[:8]
    uri = replica_set.client_uri
    groups = [Writers(each, uri, f"{each.backend}-{each.kind}-{run}", **how) for each in contestants]
    witness = Witness(replica_set, f"witness-{run}")
    everybody: list[Witness | Writers] = [witness, *groups]
    with MongoClient[dict[str, Any]](uri) as client:
        # Sixty first writes at once would quarrel over who makes the collections.
        for each in everybody:
            client[DATABASE].create_collection(each.collection)
    with ExitStack() as stack:
        for each in everybody:
            stack.callback(each.stop)
            each.start()
        began = time.monotonic()
        time.sleep(BEFORE)
        fault.strike(replica_set, fault.seconds)
        _await_recovery(groups)
        time.sleep(AFTER)
        ended = time.monotonic()
    replica_set.wait_until_healthy(HEALTH_LIMIT)
    with MongoClient[dict[str, Any]](uri) as client:
        client[DATABASE].drop_collection(witness.collection)
        set_gap = longest_gap(sorted(witness.moments), began, ended)
        return [_figures(group, fault, (began, ended), set_gap, client) for group in groups]


def longest_gap(moments: Sequence[float], began: float, ended: float) -> float:
    """The longest time between two acknowledgements; the beginning and the end count like one."""
    within = [began, *(each for each in moments if began <= each <= ended), ended]
    return max(later - earlier for earlier, later in pairwise(within))


def _await_recovery(groups: Sequence[Writers]) -> None:
    """Whoever still writes nothing after this shows it in its gap."""
    healed = time.monotonic()
    while time.monotonic() < healed + RECOVERY_LIMIT:
        if all(group.latest > healed for group in groups):
            return
        time.sleep(0.02)


def _figures(
    group: Writers,
    fault: Fault,
    times: tuple[float, float],
    set_gap: float,
    client: MongoClient[dict[str, Any]],
) -> Figures:
    account = group.account
    collection = client[DATABASE].get_collection(group.collection, read_concern=ReadConcern("majority"))
    found = {each["_id"] for each in collection.find({}, {"_id": True})}
    collection.drop()
    return Figures(
        backend=group.contestant.backend,
        kind=group.contestant.kind,
        fault=fault.name,
        acknowledged=len(account.acknowledged),
        lost=len({name for _, name in account.acknowledged} - found),
        failed=account.failed.total(),
        errors=dict(account.failed),
        hanging=group.hanging,
        clears=group.clears,
        gap=longest_gap([moment for moment, _ in account.acknowledged], *times),
        set_gap=set_gap,
        slowest=account.slowest,
    )
