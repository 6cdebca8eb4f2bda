"""docs/failure.md: every row is a test, its code runs, and its numbers are the code's."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from async_mongo_pool.config.sources import DEFAULTS, PRESETS

from .laboratory import servers
from .laboratory.contestants import BACKENDS, KINDS, OPERATION_LIMIT
from .laboratory.failures import FAULTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "failure.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
HEAD = "| what happens | what you get | for how long | probes and statistics |"
MEASURED = "| fault | backend | the set itself |"
NAMED = re.compile(r"(tests/\w+/test_\w+\.py)::(test_\w+)")
LIMIT = 60


def tables(head: str) -> list[list[str]]:
    """The rows of each table that begins so."""
    found = []
    for chunk in PAGE.split("\n\n"):
        lines = chunk.strip().splitlines()
        if lines and lines[0].startswith(head):
            found.append(lines[2:])
    return found


ROWS = [row for table in tables(HEAD) for row in table]


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {each.name for each in tree.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_each_failure_has_its_table() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)
    assert len(tables(HEAD)) == len(headings) - 1
    assert len(ROWS) >= 45


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40].strip())
def test_each_row_names_tests_that_exist(row: str) -> None:
    cells, comment = re.fullmatch(r"(.*?)<!-- (.*) --> \|", row).groups()  # type: ignore[union-attr]
    assert cells.count("|") == HEAD.count("|") - 1, "a row has as many cells as the head"
    named = NAMED.findall(comment)
    assert named
    assert NAMED.sub("", comment).strip() == ""
    for path, name in named:
        assert name in names_in(path), f"{path} has no {name}"


def test_there_is_a_block() -> None:
    assert len(BLOCKS) == PAGE.count("```python") == 1


def test_the_block_runs(mongodb_uri: str, mongodb_database: str, tmp_path: Path) -> None:
    block = BLOCKS[0].replace("shop", mongodb_database)
    file = tmp_path / "block.py"
    file.write_text(block.replace("mongodb://localhost:27017", mongodb_uri.rstrip("/")), encoding="utf-8")
    outcome = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr


def test_the_preset_is_the_codes() -> None:
    for name, value in PRESETS["fast_failover"].items():
        assert f"`{name}` {value}" in WORDS
    silent = [PRESETS["fast_failover"][name] for name in ("heartbeatFrequencyMS", "connectTimeoutMS")]
    assert silent == [1000, 2000]
    assert "given up after 2 to 3 s instead of 10 to 20 s" in WORDS
    assert f"`operation(timeout={OPERATION_LIMIT:g})`" in WORDS


def test_the_defaults_are_the_codes() -> None:
    assert DEFAULTS["serverSelectionTimeoutMS"] == DEFAULTS["waitQueueTimeoutMS"] == 5000
    assert "`serverSelectionTimeoutMS` and `waitQueueTimeoutMS` 5 s" in WORDS
    for name in ("connectTimeoutMS", "socketTimeoutMS"):
        assert f"`{name}` {DEFAULTS[name] // 1000} s" in WORDS


def test_the_servers_were_set_up_as_the_page_says() -> None:
    told = {**servers.PROMPT_SETTINGS, **servers.PROMPT_PARAMETERS}
    assert len(told) == 3
    for name, value in told.items():
        assert f"`{name}` {value}" in WORDS


def test_the_measurement_is_complete_and_nothing_was_lost() -> None:
    whole, silent = tables(MEASURED)
    assert len(whole) == len(FAULTS) * len(BACKENDS)
    assert len(silent) == len(BACKENDS) * sum(fault.silent for fault in FAULTS.values())
    for row in whole + silent:
        fault, backend, *gaps, failed, lost, never_returned = (cell.strip() for cell in row.strip("|").split("|"))
        assert fault in FAULTS
        assert backend in BACKENDS
        assert len(gaps) == 1 + len(KINDS)
        assert len(failed.split("/")) == len(KINDS)
        assert (lost, never_returned) == ("0", "0")
