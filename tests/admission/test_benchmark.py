"""The benchmark of the admission runs and reports; how fast this machine is, is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmark_measures_both_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "admission.json"
    arguments = ["--turns", "1", "--scale", "0.1", "--only", "fast-10", "10ms-100", "--json", str(file)]
    outcome = subprocess.run(
        [sys.executable, "-m", "benchmarks.admission", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    cases = json.loads(file.read_text())["cases"]
    assert [case["name"] for case in cases] == ["10ms-100", "fast-10"]
    assert all(case["ours_median"] > 0 and case["motor_median"] > 0 for case in cases)
