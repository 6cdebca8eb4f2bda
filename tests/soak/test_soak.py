"""The long run, short: its laws and its end; slopes need longer."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BACKENDS = ("motor", "pymongo", "sync")
LIMIT = 100
SEED = 45
"""Its first faults: kill -9, step down, reset."""

pytestmark = [pytest.mark.serial, pytest.mark.timeout(LIMIT + 20)]


@contextmanager
def soak(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak", "--seed", str(SEED), *arguments],
        cwd=ROOT,
        # To be told of each line at once: as an interrupted run needs it.
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=LIMIT)


def table(output: str) -> dict[str, dict[str, str]]:
    """Each backend's row of the first table, by its headings."""
    found: dict[str, dict[str, str]] = {}
    headings: list[str] = []
    for line in output.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "backend":
            headings = cells
        elif cells[0] in BACKENDS and "operations" in headings:
            found[cells[0]] = dict(zip(headings, cells, strict=True))
    return found


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_faults_on_all_backends_at_once_break_no_law() -> None:
    with soak("--minutes", "0.15", "--fault-every", "3") as process:
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    assert "zero drift, every law held" in output
    found = table(output)
    assert set(found) == set(BACKENDS)
    for row in found.values():
        assert number(row["operations"]) > 50
        assert number(row["faults"]) >= 1
        assert row["drift events"] == row["broken laws and hangs"] == "0"
    assert number(found["motor"]["cancelled"]) > 0
    assert number(found["sync"]["cancelled"]) == 0, "threads cannot be cancelled"


def test_an_interrupted_run_ends_cleanly_with_the_table_so_far() -> None:
    with soak("--backends", "sync", "--fault-every", "2") as process:
        assert process.stdout is not None
        line = ""
        while not line.startswith("under load"):
            line = process.stdout.readline()
            assert line, "it has ended"
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, output
    assert set(table(output)) == {"sync"}
    assert re.search(rf"min, seed {SEED}, interrupted\n", output)
    assert "WRONG" not in output
    # One worker, and a supervisor with its mongod for each member.
    assert len(family) == 7
    gone, alive = psutil.wait_procs(family, timeout=10)
    assert len(gone) == len(family), alive
