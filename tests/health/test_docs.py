"""The code of docs/health.md runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "health.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
LOCAL = "mongodb://localhost:27017"
LIMIT = 60


def test_there_are_blocks() -> None:
    assert len(BLOCKS) == PAGE.count("```python") == 4


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(number: int, mongodb_uri: str, tmp_path: Path) -> None:
    file = tmp_path / "block.py"
    file.write_text(BLOCKS[number].replace(LOCAL, mongodb_uri.rstrip("/")))
    outcome = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "Traceback" not in outcome.stderr
