"""The benchmarks run and report; how fast this machine is, is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def report(module: str, *arguments: str, file: Path) -> dict[str, Any]:
    outcome = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments, "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "median" in outcome.stdout
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_the_fast_path_is_measured_on_each_backend(tmp_path: Path) -> None:
    cases = report("fast_path", "--repeats", "3", file=tmp_path / "fast.json")["cases"]
    names = [case["name"] for case in cases]
    for backend in ("motor", "pymongo", "twin"):
        assert any(name.startswith(backend) and "get_client" in name for name in names)
        assert any(name.startswith(backend) and "3 options" in name for name in names)
    assert all(0 < case["median_us"] < 1000 for case in cases)


def test_the_import_is_measured(tmp_path: Path) -> None:
    cases = report("import_time", "--repeats", "1", file=tmp_path / "import.json")["cases"]
    judged = [case["name"] for case in cases if case["budget_s"]]
    assert judged == ["from async_mongo_pool import AsyncMongoDBConnectionPool"]


def test_what_waits_is_weighed(tmp_path: Path) -> None:
    cases = report("waiters", "--waiters", "300", "--turns", "1", file=tmp_path / "waiters.json")["cases"]
    weights = {case["name"]: case["median_bytes"] for case in cases}
    assert len(weights) == 4
    # Rough, as few wait: beside the task, less than AsyncMongoClient's own queue takes.
    assert 300 < weights["ours on Motor"] < weights["plain AsyncMongoClient"]
