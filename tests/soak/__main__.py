"""``make soak``, the long run by time, and ``make soak-million``, the one by operations."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from itertools import chain
from pathlib import Path

from async_mongo_pool.testing import ReplicaSet

from . import course, portions

BACKENDS = ("motor", "pymongo", "sync")


def main() -> int:
    arguments = _arguments()
    # Replacements and faults are what this is about; they would be told of thousands of times.
    logging.getLogger("async_mongo_pool").setLevel(logging.ERROR)
    print(f"seed {arguments.seed}", flush=True)
    if arguments.operations is None:
        return course.run(
            course.Terms(
                arguments.minutes * 60,
                arguments.fault_every,
                arguments.seed,
                arguments.backends,
                arguments.samples,
            )
        )
    with ReplicaSet() as deployment:
        for backend in arguments.backends:
            share = arguments.operations // len(arguments.backends)
            asyncio.run(portions.soak(backend, deployment, share, arguments.seed))
    print("no drift")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=_positive, default=30.0, help="all backends at once (default: 30)")
    length.add_argument("--operations", type=int, help="over all backends, one after another, instead")
    parser.add_argument("--fault-every", type=_positive, default=20.0, help="seconds (default: 20)")
    parser.add_argument(
        "--backends", type=_backends, nargs="+", default=[BACKENDS], help="with commas or spaces (default: all)"
    )
    parser.add_argument("--samples", type=Path, metavar="FILE", help="write each sample there, as lines of JSON")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    # In the order given, each once.
    arguments.backends = list(dict.fromkeys(chain.from_iterable(arguments.backends)))
    return arguments


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: not above 0")
    return number


def _backends(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(BACKENDS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(BACKENDS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
