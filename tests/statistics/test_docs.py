"""docs/statistics.md names every key, with the sentence of the code, and its blocks run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool.distribution import BOUNDS, Distribution
from async_mongo_pool.retry_stats import RetryStats
from async_mongo_pool.stats import (
    CHECKOUT_FAILURES,
    CLOSE_REASONS,
    REFUSALS,
    CommandSeries,
    CommandStats,
    ConnectionStats,
    ExecutorStats,
    Holder,
    PoolSnapshot,
    ServerStats,
    TotalStats,
)
from tests.pools.subjects import Subject

from .documented import keys, meanings

if TYPE_CHECKING:
    from async_mongo_pool.testing import Server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
KINDS = (
    ConnectionStats,
    ServerStats,
    TotalStats,
    Distribution,
    ExecutorStats,
    CommandStats,
    CommandSeries,
    RetryStats,
    PoolSnapshot,
    Holder,
)
LIMIT = 60
LOCAL = "mongodb://localhost:27017"


def tables() -> list[dict[str, str]]:
    """Each table of keys on the page: what stands behind each key."""
    found = re.findall(
        r"^\| key \| unit \| meaning \|\n\|---\|---\|---\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE
    )
    return [dict(re.findall(r"^\| (`.*?`) \| (.*) \|$", rows, flags=re.MULTILINE)) for rows in found]


def own_keys(kind: type[Any]) -> list[str]:
    """The keys of a class that it does not share with another one of the page."""
    inherited = keys(ConnectionStats) if kind in (ServerStats, TotalStats) else set()
    return [name for name in meanings(kind) if name not in inherited]


@pytest.mark.core
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_key_has_a_row_with_a_unit_and_the_sentence_of_the_code(kind: type[Any]) -> None:
    assert set(meanings(kind)) == keys(kind), "a docstring and its class disagree"
    expected = own_keys(kind)
    (table,) = [each for each in tables() if list(each) == [f"`{name}`" for name in expected]] or [{}]
    assert table, f"no table has exactly these rows: {expected}"
    for name in expected:
        unit, _, meaning = table[f"`{name}`"].partition(" | ")
        assert unit, name
        assert meaning == meanings(kind)[name]


@pytest.mark.core
def test_there_is_no_other_table_of_keys() -> None:
    # One more: the keys that get_pool_stats has beside those of a snapshot.
    assert len(tables()) == len(KINDS) + 1


@pytest.mark.core
def test_reasons_bounds_and_laws_are_on_the_page() -> None:
    for reasons in (CHECKOUT_FAILURES, CLOSE_REASONS):
        assert f"{', '.join(reasons[:-1])} and {reasons[-1]}" in WORDS
    assert all(reason in WORDS for reason in REFUSALS)
    assert list(BOUNDS) == [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]
    assert "0.1, 0.5, 1, 5, 10, 50, 100 and 500 ms, 1, 5 and 10 s" in WORDS


@pytest.mark.parametrize("backend", ["motor", "pymongo", "sync"])
async def test_get_pool_stats_has_exactly_the_keys_of_the_page(backend: str, mongodb_uri: str) -> None:
    head = next(each for each in tables() if "`connection_string`" in each)
    named = {key for cell in head for key in re.findall(r"`(\w+)`", cell)}
    subject = Subject(backend)
    try:
        await subject.initialize(mongodb_uri)
        stats = await subject.call(subject.pool.get_pool_stats, server=True)
    finally:
        await subject.close()
    assert set(stats) == named - {"error"}
    assert set(stats["totals"]) == keys(TotalStats)
    assert {frozenset(each) for each in stats["servers"].values()} == {frozenset(keys(ServerStats))}


@pytest.mark.core
def test_every_python_block_is_found() -> None:
    assert len(BLOCKS) == PAGE.count("```python") >= 5


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(number: int, mongod: Server, mongodb_database: str, tmp_path: Path) -> None:
    file = tmp_path / "block.py"
    block = BLOCKS[number].replace("shop", mongodb_database)
    file.write_text(block.replace(LOCAL, mongod.uri.rstrip("/")), encoding="utf-8")
    outcome = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr
    for said in SAID.get(number, ()):
        assert re.search(said, outcome.stdout + outcome.stderr), outcome.stdout + outcome.stderr


SAID = {
    0: (r"0 of 20 in use, 0 waiting", r"connected 20\d \d+"),
    1: (r"monthly report: find for 0\.\d s\n  File .*block\.py", r"\n1\n", r"has been held for"),
    2: (r"insert: 1 times, 0 failed", r"find: 1 times"),
    3: (r"DEBUG:async_mongo_pool\.events:.*checked out",),
    4: (r"3 refused: .*max_waiting=5.* in use of maxPoolSize 2, .*2 of 2 threads busy", r"5 were waiting"),
}
"""What the blocks print."""


@pytest.mark.core
def test_the_pages_it_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target
