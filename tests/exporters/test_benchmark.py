"""The exporters' benchmark runs and reports; how fast this machine is, is not judged here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.test_benchmarks import report

if TYPE_CHECKING:
    from pathlib import Path


def test_scrape_and_collection_are_measured(tmp_path: Path) -> None:
    cases = report("exporters", "--repeats", "1", "--operations", "20", file=tmp_path / "exporters.json")["cases"]
    assert {case["name"].partition(":")[0] for case in cases} >= {"Prometheus", "OpenTelemetry"}
    assert all(0 < case["median_ms"] < 1000 for case in cases if ":" in case["name"])
