"""The laboratory of faults: ``make faults``. What becomes of twenty writers when something breaks.

    python -m tests.faults --backends motor --faults kill sigstop --repeats 1

A replica set of three stands behind proxies and elects a new primary after 2 s. For each backend three write at
once, each with twenty writers and w=majority: the plain driver, a pool with the library's defaults, and one with
the preset fast_failover whose writes stand in operation(timeout=10). So each fault strikes all three at the same
moment. The gap is the longest time in which no write of the twenty was acknowledged; "the set itself" is that of a
witness who asks each member directly, and so the servers' part of it. All times are in seconds. Afterwards every
acknowledged write is looked for with read concern majority.

The exit status is 1 if a write was lost or never returned, or a gap was longer than it should be.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
from pathlib import Path

import pymongo

from .laboratory.contestants import BACKENDS, KINDS, Contestant
from .laboratory.failures import FAULTS
from .laboratory.measure import Figures, observe
from .laboratory.report import complaints, line, table
from .laboratory.servers import laboratory_set


def main() -> int:
    arguments = _arguments()
    for name in ("async_mongo_pool", "pymongo"):
        # Faults are what this is about; they would be told of hundreds of times.
        logging.getLogger(name).setLevel(logging.CRITICAL)
    began = time.monotonic()
    found = _measure(arguments)
    surroundings = f"Python {platform.python_version()}, PyMongo {pymongo.version}, {platform.machine()}"
    _say(f"\n{table(found)}\n\n{surroundings}, {arguments.repeats} runs, {time.monotonic() - began:.0f} s")
    if arguments.json:
        figures = {"surroundings": surroundings, "runs": [each.as_dict() for each in found]}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    wrong = complaints(found)
    _say("\n".join(wrong) or "nothing lost, everything returned, no gap too long")
    return 1 if wrong else 0


def _measure(arguments: argparse.Namespace) -> list[Figures]:
    found: list[Figures] = []
    total = arguments.repeats * len(arguments.faults) * len(arguments.backends)
    for fault in [FAULTS[name] for _ in range(arguments.repeats) for name in arguments.faults]:
        with laboratory_set(fault, prompt=not arguments.server_defaults) as replica_set:
            for backend in arguments.backends:
                figures = observe(replica_set, [Contestant(backend, kind) for kind in KINDS], fault)
                found += figures
                _say(f"{len(found) // len(KINDS)} of {total}")
                _say("\n".join(line(each) for each in figures))
    order = list(FAULTS)
    return sorted(found, key=lambda each: (order.index(each.fault), BACKENDS.index(each.backend)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--faults", nargs="+", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument(
        "--server-defaults",
        action="store_true",
        help="leave all but the servers' election timeout as it comes (default: silence is noticed soon)",
    )
    parser.add_argument("--json", type=Path, help="also write the figures of every run to this file")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    return arguments


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
