"""``python -m async_mongo_pool top``, for real."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from async_mongo_pool.cli.top_load import PHASES, Load, Phase
from async_mongo_pool.cli.watched import Watched
from async_mongo_pool.testing import Mongod
from tests.timing import now

from .command import COMMAND, LIMIT, ROOT, environment, run, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from async_mongo_pool.testing import Server

BACKENDS = ["motor", "pymongo", "sync"]
CLIENTS = {"motor": "Motor", "pymongo": "AsyncMongoClient", "sync": "MongoClient"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_picture_of_a_server(backend: str, mongod: Server) -> None:
    outcome = run("top", "--uri", mongod.uri, "--backend", backend, "--once")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    lines = outcome.stdout.splitlines()
    assert lines[0].startswith(f"top with {CLIENTS[backend]}, up ")
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in outcome.stdout
    for said in ("status      connected, saturated no, drift 0", " at the server, of all its clients", "  ping "):
        assert said in outcome.stdout
    assert ("workers " in outcome.stdout) is (backend == "motor")


@pytest.mark.parametrize("backend", BACKENDS)
def test_json_is_what_get_pool_stats_returns(backend: str, mongod: Server) -> None:
    arguments = ("--uri", mongod.uri, "--backend", backend, "--json", "--duration", "1", "--interval", "0.4")
    outcome = run("top", *arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    answers = [json.loads(line) for line in outcome.stdout.splitlines()]
    # At 0, 0.4, 0.8 and 1 s, unless the machine is busy; never more.
    assert 2 <= len(answers) <= 4
    for answer in answers:
        assert answer["status"] == "connected"
        assert answer["server_connections"]["current"] >= 1
        assert answer["pool_config"]["minPoolSize"] == 0
    assert answers[-1]["commands"]["ping"]["count"] > answers[0]["commands"]["ping"]["count"]


def test_once_ends_also_json(mongod: Server) -> None:
    outcome = run("top", "--uri", mongod.uri, "--json", "--once", "--duration", "50")
    assert len(outcome.stdout.splitlines()) == 1
    assert outcome.returncode == 0


def test_piped_it_writes_one_plain_picture_after_the_other(mongod: Server) -> None:
    outcome = run("top", "--duration", "1", "--interval", "0.5", MONGODB_URI=mongod.uri)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    assert "\x1b" not in outcome.stdout
    assert "\r" not in outcome.stdout
    ages = [float(age) for age in re.findall(r"^top with Motor, up (\d+\.\d) s", outcome.stdout, re.MULTILINE)]
    spans = [float(span) for span in re.findall(r"^in (\d+\.\d) s", outcome.stdout, re.MULTILINE)]
    assert 2 <= len(ages) == len(spans) <= 3
    # What is shown is what happened since the picture before.
    assert spans[-1] < ages[-1]


def test_an_output_without_unicode_gets_plain_signs(mongod: Server) -> None:
    outcome = run("top", "--uri", mongod.uri, "--once", PYTHONIOENCODING="ascii")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.isascii()


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_is_a_normal_end_and_leaves_no_process(backend: str, wait_until: Callable[..., None]) -> None:
    options = ("--backend", backend, "--interval", "0.2", "--duration", "30")
    with start("top", "--demo", *options) as top:
        assert top.stdout is not None
        try:
            next(line for line in top.stdout if line.startswith("held for"))
            started = psutil.Process(top.pid).children(recursive=True)
            top.send_signal(signal.SIGINT)
            # 2 s are promised; a machine that is busy with other tests gets some more.
            _, complaints = top.communicate(timeout=8)
        finally:
            top.kill()
    assert top.returncode == 0
    assert complaints == ""
    assert started
    wait_until(lambda: not any(map(runs, started)), 3, "the end of the server")


def runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_draws_on_while_the_server_is_frozen(backend: str) -> None:
    options = ("--backend", backend, "--interval", "0.2", "--duration", "30")
    with Mongod() as mongod, start("top", "--uri", mongod.uri, *options) as top:
        assert top.stdout is not None
        lines = iter(top.stdout)
        try:
            next(line for line in lines if line.startswith("status      connected"))
            mongod.suspend()
            try:
                # Pictures come while the answer is awaited, and the answer comes within its bound.
                assert next(line for line in lines if "no answer for 1." in line)
                assert next(line for line in lines if line.startswith("status      error"))
                assert next(line for line in lines if line.startswith("error       "))
                began = now()
                top.send_signal(signal.SIGINT)
                _, complaints = top.communicate(timeout=8)
            finally:
                mongod.resume()
        finally:
            top.kill()
    assert (top.returncode, complaints) == (0, "")
    assert now() - began < 8


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mongodb://anna:geheim@127.0.0.1:1/?serverSelectionTimeoutMS=300", "refused"),
        ("mongodb://anna:ge@heim@127.0.0.1:1/", "percent-encoded"),
    ],
)
def test_a_wrong_address_is_one_sentence_without_the_password(backend: str, uri: str, said: str) -> None:
    began = now()
    outcome = run("top", "--uri", uri, "--backend", backend, "--once")
    assert now() - began < 15
    assert outcome.returncode == 1
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("async-mongo-pool: ")
    assert outcome.stderr.count("\n") == 1
    assert said in outcome.stderr
    assert "geheim" not in outcome.stderr
    assert "ge@heim" not in outcome.stderr


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_the_password_of_a_server_is_shown_nowhere(as_json: tuple[str, ...]) -> None:
    with Mongod(auth=True) as guarded:
        assert guarded.root is not None
        outcome = run("top", "--once", *as_json, MONGODB_URI=guarded.uri)
    assert outcome.returncode == 0, outcome.stderr
    assert guarded.root.password
    assert guarded.root.password not in outcome.stdout + outcome.stderr
    assert "root:***@" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "MONGODB_URI"),
        (("--demo", "--uri", "mongodb://127.0.0.1:1/"), "not both"),
        (("--demo", "--backend", "other"), "other"),
        (("--demo", "--interval", "0"), "interval"),
    ],
)
def test_wrong_usage_is_told(arguments: tuple[str, ...], said: str) -> None:
    outcome = run("top", *arguments)
    assert outcome.returncode == 2
    assert said in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_the_help_says_whose_pool_it_is() -> None:
    said = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", run("top", "--help").stdout).split())
    assert "shows THIS pool and what the server counts over all of its clients" in said
    assert "The pools of other processes cannot be seen from here" in said


def test_a_reader_that_has_seen_enough_is_no_error(mongod: Server) -> None:
    with start("top", "--uri", mongod.uri, "--interval", "0.1") as top:
        assert top.stdout is not None
        assert top.stderr is not None
        try:
            top.stdout.readline()
            top.stdout.close()
            assert top.wait(LIMIT) == 0
            assert top.stderr.read() == ""
        finally:
            top.kill()


@contextmanager
def terminal(*arguments: str, **changes: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    ours, theirs = pty.openpty()
    changes = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "30", **changes}
    process = subprocess.Popen(
        [*COMMAND, "top", *arguments],
        cwd=ROOT,
        env=environment(**changes),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(descriptor: int, sign: bytes, seen: bytes = b"") -> bytes:
    """What a terminal shows, until this sign has come; all of it when the other side has ended."""
    while sign not in seen:
        try:
            data = os.read(descriptor, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    return seen


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_it_gives_the_screen_back(number: signal.Signals, mongod: Server) -> None:
    with terminal("--uri", mongod.uri, "--interval", "0.1") as (process, descriptor):
        seen = read_until(descriptor, b"serverStatus")
        process.send_signal(number)
        seen = read_until(descriptor, b"never shown", seen)
        assert process.wait(LIMIT) == 0
    assert seen.count(b"\x1b[?1049h") == 1
    picture = seen.rpartition(b"\x1b[?1049l")[2]
    assert b"top with Motor" in picture.replace(b"\x1b[0m", b"").replace(b"\x1b[1m", b"")
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")
    # Each picture is drawn over the last one: nothing is cleared in between, so nothing flickers.
    assert b"\x1b[2J" not in seen


@pytest.mark.parametrize(("changes", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(changes: dict[str, str], coloured: bool, mongod: Server) -> None:
    with terminal("--uri", mongod.uri, "--once", **changes) as (process, descriptor):
        seen = read_until(descriptor, b"never shown")
        assert process.wait(LIMIT) == 0
    assert (b"\x1b[36m" in seen) is coloured


@pytest.mark.parametrize("backend", BACKENDS)
async def test_each_phase_of_the_demo_shows_what_it_says(backend: Any, wait_until_async: Any) -> None:
    busy, saturated, slow, idle = PHASES
    with Mongod() as mongod:
        watched = Watched(backend, "phases")
        await watched.open(mongod.uri, maxPoolSize=10, waitQueueTimeoutMS=300, slow_checkout_ms=1000)
        try:
            load = Load(watched)
            await load.prepare()
            await load.phase(busy, 0.5)
            assert watched.snapshot().totals.checkouts > 20
            assert watched.snapshot().totals.used == 0
            async with running(load, saturated):
                await wait_until_async(lambda: is_full(watched), 5, "a full pool and a queue")
            async with running(load, slow):
                await wait_until_async(lambda: holds_long(watched), 5, "a report that is named")
                await wait_until_async(lambda: failures(watched) > 0, 5, "a reader that got no connection")
            before = watched.snapshot()
            await load.phase(idle, 0.2)
            assert watched.snapshot().since(before).totals.checkouts_started == 0
        finally:
            await watched.close()


@asynccontextmanager
async def running(load: Load, phase: Phase) -> AsyncIterator[None]:
    """A phase that lasts until its end, also when the block is done earlier."""
    async with asyncio.TaskGroup() as group:
        group.create_task(load.phase(phase, 0.7))
        yield


def is_full(watched: Watched) -> bool:
    snapshot = watched.snapshot()
    return snapshot.saturated and snapshot.totals.waiting >= 10


def holds_long(watched: Watched) -> bool:
    return any(each.name.startswith("report-") and each.seconds > 0.3 for each in watched.holders())


def failures(watched: Watched) -> int:
    snapshot = watched.snapshot()
    refused = sum(snapshot.executor.refused.values()) if snapshot.executor is not None else 0
    return refused + sum(snapshot.totals.checkout_failures.values())
