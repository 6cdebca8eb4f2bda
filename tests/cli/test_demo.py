"""``python -m async_mongo_pool demo``, for real."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from async_mongo_pool.testing import Mongod

from .command import LIMIT, ROOT, environment, run, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from async_mongo_pool.testing import Server

SHORT = ("--seconds", "0.1", "--tasks", "5")
STAGES = ["Starting", "Serving", "Comparing, round 1 of 2: plain", "Comparing, round 1 of 2: client per request"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[Mongod]:
    """A server that asks for a password."""
    with Mongod(auth=True) as mongod:
        yield mongod


@pytest.mark.parametrize(
    ("backend", "plain"), [("motor", "plain Motor client"), ("pymongo", "plain AsyncMongoClient")]
)
def test_it_serves_compares_and_sums_up(backend: str, plain: str) -> None:
    outcome = run("demo", "--backend", backend, "--seconds", "1", "--tasks", "50")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    lines = outcome.stdout.splitlines()
    for name in ("pool", plain, "client per request"):
        operations, *_, errors = table_row(lines, name)
        assert int(operations.replace(",", "")) > 0
        assert errors == "0"
    assert re.search(r" at most [1-9]\d*$", outcome.stdout, flags=re.MULTILINE)
    assert "status connected" in outcome.stdout
    assert "maxPoolSize 100 (default)" in outcome.stdout
    assert "the server sees 0 of its connections" in outcome.stdout
    assert "waits 5 ms before each" in outcome.stdout
    assert "\x1b" not in outcome.stdout
    assert max(map(len, lines)) <= 80


def table_row(lines: list[str], name: str) -> list[str]:
    return next(line for line in lines if line.startswith(f"{name}  "))[len(name) :].split()


def test_a_server_that_exists_is_left_as_it_was(mongod: Server) -> None:
    outcome = run("demo", "--uri", mongod.uri, *SHORT)
    assert outcome.returncode == 0, outcome.stderr
    assert "Simulated   nothing" in outcome.stdout
    with mongod.client() as client:
        assert [name for name in client.list_database_names() if "demo" in name] == []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("backend", ["motor", "pymongo"])
def test_ctrl_c_ends_it_cleanly(backend: str, stage: str, wait_until: Callable[..., None]) -> None:
    with start("demo", "--backend", backend, "--seconds", "0.5", "--tasks", "100") as demo:
        assert demo.stdout is not None
        try:
            next(line for line in demo.stdout if line.startswith(stage))
            started = psutil.Process(demo.pid).children(recursive=True)
            demo.send_signal(signal.SIGINT)
            # 2 s are promised; a machine that is busy with other tests gets some more.
            _, complaints = demo.communicate(timeout=8)
        finally:
            demo.kill()
    assert demo.returncode == 130
    assert complaints == "async-mongo-pool: interrupted; everything is closed.\n"
    wait_until(lambda: not any(map(runs, started)), 3, "the end of the server")


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_ctrl_c_removes_the_database_from_a_server_that_exists(mongod: Server) -> None:
    with start("demo", "--uri", mongod.uri, "--seconds", "5", "--tasks", "10") as demo:
        assert demo.stdout is not None
        try:
            next(line for line in demo.stdout if line.startswith("Serving"))
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=8)
        finally:
            demo.kill()
    assert demo.returncode == 130
    with mongod.client() as client:
        assert [name for name in client.list_database_names() if "demo" in name] == []


@pytest.mark.parametrize("backend", ["motor", "pymongo"])
def test_a_server_that_dies_is_one_sentence(backend: str) -> None:
    with Mongod() as dying:
        uri = f"{dying.uri}?serverSelectionTimeoutMS=300"
        with start("demo", "--uri", uri, "--backend", backend, "--seconds", "1") as demo:
            assert demo.stdout is not None
            try:
                next(line for line in demo.stdout if line.startswith("Serving"))
                dying.kill()
                _, complaints = demo.communicate(timeout=LIMIT)
            finally:
                demo.kill()
    assert demo.returncode == 1
    assert complaints.startswith("async-mongo-pool: ")
    assert complaints.count("\n") == 1


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mongodb://anna:geheim@127.0.0.1:1/?serverSelectionTimeoutMS=300", "refused"),
        ("mongodb://anna:geheim@nowhere.invalid/?serverSelectionTimeoutMS=300", "nowhere.invalid"),
        ("mongodb://anna:ge@heim@127.0.0.1:1/", "percent-encoded"),
        ("anna:geheim", "mongodb://"),
        ("mongodb://anna:geheim@127.0.0.1:1/?maxPolSize=5", "Did you mean maxPoolSize"),
    ],
)
def test_a_wrong_address_is_one_sentence(uri: str, said: str) -> None:
    refused(run("demo", "--uri", uri), said)


@pytest.mark.parametrize("backend", ["motor", "pymongo"])
def test_a_wrong_password_is_one_sentence(backend: str, guarded: Mongod) -> None:
    uri = f"mongodb://root:geheim@127.0.0.1:{guarded.port}/"
    refused(run("demo", "--uri", uri, "--backend", backend), "Authentication failed")


def refused(outcome: subprocess.CompletedProcess[str], said: str) -> None:
    assert outcome.returncode == 1
    assert outcome.stderr.count("\n") == 1
    assert said in outcome.stderr
    for text in (outcome.stdout, outcome.stderr):
        assert "Traceback" not in text
        assert "\x1b" not in text
        assert "geheim" not in text
        assert "ge@heim" not in text


def test_the_environment_names_a_server_too_and_its_password_is_shown_nowhere(guarded: Mongod) -> None:
    password = guarded.root.password if guarded.root else None
    assert password
    outcome = run("demo", *SHORT, MONGODB_URI=guarded.uri)
    assert outcome.returncode == 0, outcome.stderr
    assert password not in outcome.stdout + outcome.stderr
    assert "root:***@" in outcome.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("demo", "--help")])
def test_help(arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments)
    assert outcome.returncode == 0
    assert "demo" in outcome.stdout


@pytest.mark.parametrize("arguments", [("demo", "--tasks", "0"), ("demo", "--backend", "other"), ("dance",)])
def test_a_wrong_option_is_told(arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments)
    assert outcome.returncode == 2
    assert "Traceback" not in outcome.stderr


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_it_says_which_one(missing: str) -> None:
    code = (
        f"import runpy, sys; sys.modules[{missing!r}] = None; "
        "runpy.run_module('async_mongo_pool', run_name='__main__')"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert outcome.returncode == 2
    assert outcome.stderr == 'async-mongo-pool needs its cli extra: pip install "async_mongo_pool[cli]"\n'


def test_the_package_alone_imports_neither() -> None:
    code = "import sys, async_mongo_pool; print(sorted({'typer', 'rich'} & set(sys.modules)))"
    outcome: Any = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=True
    )
    assert outcome.stdout == "[]\n"
