"""The blocks of docs/retries.md run, and its numbers are the code's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from async_mongo_pool.retry import backoff, budget, shield
from async_mongo_pool.retry.terms import ATTEMPTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "retries.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_there_are_blocks() -> None:
    assert len(BLOCKS) == PAGE.count("```python") == 3


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(number: int, mongodb_uri: str, mongodb_database: str, tmp_path: Path) -> None:
    block = BLOCKS[number].replace("shop", mongodb_database)
    block = block.replace("mongodb://localhost:27017", mongodb_uri.rstrip("/"))
    file = tmp_path / "block.py"
    file.write_text(block)
    outcome = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr


def test_the_numbers_are_true() -> None:
    text = " ".join(PAGE.split())
    assert f"at most `attempts` times ({ATTEMPTS})" in text
    assert f"from 0 to {backoff.BASE:g} s, doubling up to {backoff.CAP:g} s" in text
    assert (budget.SHARE, budget.RESERVE, budget.REFILL, budget.CAPACITY) == (0.2, 10, 1, 100)
    assert "earns a fifth of a retry, up to 100, and ten are there from the start, which come back at one" in text
    assert f"or for {shield.ABANDONED_LIMIT:g} s where there is none" in text
