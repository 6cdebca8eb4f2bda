"""How long importing the package takes, in fresh processes.

Beside it, and taking turns with it: nothing at all, and PyMongo alone. Nothing is
subtracted.

    python -m benchmarks.import_time [--repeats 15] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from .table import show, surroundings

BUDGET = 0.3
LIMIT = 60
JUDGED = "from async_mongo_pool import AsyncMongoDBConnectionPool"
# The package imports its names when they are first used: the name is what a service pays for.
CASES = ("pass", "import pymongo", "import async_mongo_pool", JUDGED)


def seconds_of(statement: str) -> float:
    """The time of the statement inside a fresh interpreter; its own start is not counted."""
    code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    outcome = subprocess.run(  # noqa: S603 - the statements above
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True
    )
    return float(outcome.stdout)


def measure(repeats: int) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {statement: [] for statement in CASES}
    # Once each without counting: the first import writes byte code and fills the file cache.
    for statement in CASES:
        seconds_of(statement)
    for _ in range(repeats):
        for statement in CASES:
            samples[statement].append(seconds_of(statement))
    return samples


def figures_of(name: str, samples: list[float]) -> dict[str, Any]:
    median = statistics.median(samples)
    budget = BUDGET if name == JUDGED else None
    return {
        "name": name,
        "median_s": median,
        "least_s": min(samples),
        "most_s": max(samples),
        "budget_s": budget,
        "within_budget": None if budget is None else median <= budget,
    }


def row(figures: dict[str, Any]) -> tuple[str, ...]:
    budget = figures["budget_s"]
    verdict = "" if budget is None else f"{budget:g}" if figures["within_budget"] else f"{budget:g} (over)"
    return (figures["name"], *(f"{figures[key]:.3f}" for key in ("median_s", "least_s", "most_s")), verdict)


def main() -> None:
    parser = argparse.ArgumentParser(description="The import time of the package.")
    parser.add_argument("--repeats", type=int, default=15, help="processes for each case (default: 15)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = [figures_of(name, samples) for name, samples in measure(max(arguments.repeats, 1)).items()]
    title = f"Seconds, in {arguments.repeats} fresh processes each"
    show(title, ("statement", "median", "least", "most", "budget"), [row(each) for each in figures])
    if arguments.json:
        arguments.json.write_text(json.dumps({"surroundings": surroundings(), "cases": figures}, indent=2))


if __name__ == "__main__":
    main()
