"""The README's code and the examples run, and its tables say what the code does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from async_mongo_pool.config.sources import DEFAULTS, PRESETS

if TYPE_CHECKING:
    from async_mongo_pool.testing import Server

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
LIMIT = 60
LOCAL = "mongodb://localhost:27017"


def environment(uri: str) -> dict[str, str]:
    return {**os.environ, "MONGODB_URI": uri, "PYTHONPATH": str(ROOT)}


def start(file: Path, uri: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(file)],
        env=environment(uri),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], *, terminate: bool = False) -> str:
    """Wait for the end (after SIGTERM, if asked) and return the output."""
    try:
        if terminate:
            process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output


def test_there_are_blocks() -> None:
    assert len(BLOCKS) == README.count("```python") >= 8


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(number: int, mongodb_uri: str, mongodb_database: str, tmp_path: Path) -> None:
    # On a server that somebody uses there may be a database with the README's name.
    block = BLOCKS[number].replace("shop", mongodb_database)
    file = tmp_path / "test_block.py"
    file.write_text(block.replace(LOCAL, mongodb_uri.rstrip("/")))
    if "def test_" in block:
        run_pytest(file, mongodb_uri)
        return
    with start(file, mongodb_uri) as process:
        assert process.stdout is not None
        waits = "SIGTERM" in block
        assert not waits or process.stdout.readline() == "working\n"
        finish(process, terminate=waits)


def run_pytest(file: Path, uri: str) -> None:
    installed = any(entry.name == "async_mongo_pool" for entry in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "async_mongo_pool.testing.plugin"]
    outcome = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *plugin,
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(file.parent),
            str(file),
        ],
        cwd=file.parent,
        env=environment(uri),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout


def test_the_script(mongodb_uri: str) -> None:
    with start(ROOT / "examples" / "script.py", mongodb_uri) as process:
        output = finish(process)
    assert output.startswith("order 2: 20\norder 3: 30\norder 4: 40\nconnected, MongoDB ")


def test_the_service(mongod: Server) -> None:
    with start(ROOT / "examples" / "service.py", mongod.uri) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(" ")[2])
        visits = [visit(port) for _ in range(2)]
        output = finish(process, terminate=True)
    with mongod.client() as client:
        client.drop_database("example_service")
    assert visits[1] == visits[0] + 1
    assert output == "closed\n"


def visit(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return int(answer.read().split()[-1])


def test_the_worker_finishes_and_leaves(mongod: Server) -> None:
    with mongod.client() as client:
        jobs = client.example_worker.jobs
        jobs.delete_many({})
        jobs.insert_many([{"_id": number, "number": number, "state": "new"} for number in range(5)])
        with start(ROOT / "examples" / "worker.py", mongod.uri) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "working\n"
            output = finish(process, terminate=True)
        states = [job["state"] for job in jobs.find()]
        client.drop_database("example_worker")
    # However many it did before the signal: none was begun and left.
    assert output == f"done: {states.count('done')}\n"
    assert "taken" not in states


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_the_table_of_defaults_is_true(name: str) -> None:
    value = DEFAULTS[name]
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    assert re.search(rf"^\| `{name}` \| {re.escape(shown)} \|", README, flags=re.MULTILINE)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_table_of_presets_is_true(preset: str) -> None:
    row = re.search(rf"^\| `{preset}` \| (.*) \|$", README, flags=re.MULTILINE)
    assert row is not None
    for name, value in PRESETS[preset].items():
        if name != "journal" and value is not True:
            assert f"`{name}`" in row[1]
            assert str(value) in row[1]


def test_the_files_it_names_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).is_file(), target
