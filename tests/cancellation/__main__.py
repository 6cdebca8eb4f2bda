"""The long form: ``make cancellations``. Random cancellations under load, and nothing is lost by them.

    python -m tests.cancellation --cancellations 10000 --backend motor --seed 1

There are two storms, of as many cancellations each. The first one cancels operations, cursors, transactions, calls
of ``Pool.run``, ``initialize`` and ``close``, all at once; the second one ``Pool.run`` alone, after which the pool
must still have every connection that it had before. The twin's blocking calls cannot be cancelled: there deadlines
interrupt them. The command fails when anything in its tables is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import platform
import sys
import time
from typing import TYPE_CHECKING

import pymongo

from async_mongo_pool.testing import ReplicaSet
from tests.pools.subjects import Subject

from .aftermath import Finding, Kept, look
from .storm import BY_RUN, DIRECTLY, Storm

if TYPE_CHECKING:
    from collections.abc import Mapping

BACKENDS = ("motor", "pymongo", "sync")
EVERY = 1000


class Progress:
    """Prints a line for each so many cancellations."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._next = EVERY

    def __call__(self, storm: Storm) -> None:
        if storm.cancellations < self._next:
            return
        self._next += EVERY
        totals = storm.subject.pool.snapshot().totals
        print(
            f"{self._name}: {storm.cancellations:>7,} cancelled, {totals.used} in use, {totals.waiting} waiting, "
            f"{time.monotonic() - self._began:.0f} s",
            flush=True,
        )


async def run(backend: str, cancellations: int, seed: int) -> bool:
    """Both storms on one backend; whether everything is as it must be."""
    with ReplicaSet(size=1) as deployment:
        storm = Storm(Subject(backend), deployment.uri, deployment.members, seed)
        await storm.begin()
        try:
            findings = await _storm(storm, f"{backend}, directly", cancellations, DIRECTLY)
            kept = Kept(storm, deployment.primary)
            more = await _storm(storm, f"{backend}, by run", cancellations, BY_RUN)
            if storm.subject.is_async:
                _show_findings(kept.findings())
                more += kept.findings()
        finally:
            await storm.end()
    return all(finding.holds for finding in findings + more)


async def _storm(storm: Storm, name: str, cancellations: int, kinds: Mapping[str, int]) -> list[Finding]:
    before = storm.subject.pool.snapshot()
    await storm.rage(cancellations, kinds, tell=Progress(name))
    print(f"\n{name}, seed {storm.seed}: {storm.cancellations:,} cancelled")
    _show_tallies(storm)
    findings = await look(storm, storm.servers[0])
    lately = storm.subject.pool.snapshot().since(before)
    in_queue = lately.totals.checkouts_abandoned + (lately.executor.abandoned if lately.executor else 0)
    findings.append(Finding("operations cancelled while they waited for a worker or a connection", in_queue))
    findings.append(Finding("connections made meanwhile", lately.totals.connections_created))
    findings.append(Finding("events the driver left out, made good", lately.totals.events_missed))
    _show_findings(findings)
    return findings


def _show_tallies(storm: Storm) -> None:
    print(f"  {'':14}{'begun':>9}{'cancelled':>11}{'too late':>10}{'spared':>8}{'failed':>8}")
    for kind, tally in storm.tallies.items():
        failed = tally.failures.total()
        print(f"  {kind:14}{tally.begun:9,}{tally.cancelled:11,}{tally.too_late:10,}{tally.spared:8,}{failed:8,}")


def _show_findings(findings: list[Finding]) -> None:
    for finding in findings:
        judgement = "" if finding.wanted is None else "ok" if finding.holds else f"WRONG, not {finding.wanted}"
        print(f"  {finding.what:68} {finding.found!s:14} {judgement}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cancellations", type=int, default=10_000, help="of each storm (default: 10000)")
    parser.add_argument("--backend", choices=BACKENDS, default="motor", help="default: motor")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    arguments = parser.parse_args()
    # Clients that are closed with work in progress are what this is about; each would be told of.
    logging.getLogger("async_mongo_pool").setLevel(logging.ERROR)
    print(f"Python {platform.python_version()}, PyMongo {pymongo.version}, seed {arguments.seed}")
    if not asyncio.run(run(arguments.backend, arguments.cancellations, arguments.seed)):
        sys.exit("not everything is as it must be")


if __name__ == "__main__":
    main()
