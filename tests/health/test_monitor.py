"""The monitor: it looks, tells of every change once, survives its callback, and leaves nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool import MongoDBConnectionPool, PoolConfigurationError
from async_mongo_pool.health import AsyncHealthMonitor, HealthMonitor, Readiness
from tests.faults.proxy import FaultProxy

from .subjects import HealthSubject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
LIMIT = 30


@pytest.fixture
def proxy(mongod: Any) -> Iterator[FaultProxy]:
    with FaultProxy((mongod.host, mongod.port)) as running:
        yield running


def states(changes: list[tuple[Readiness, Readiness]]) -> list[tuple[str, str]]:
    return [(old.state, new.state) for old, new in changes]


def said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def lookers(subject: HealthSubject) -> list[Any]:
    named = [thread for thread in threading.enumerate() if thread.name == f"{subject.name}-health"]
    return [*named, *(task for task in asyncio.all_tasks() if task.get_name() == f"{subject.name}-health")]


LOST_AND_FOUND = [("starting", "ready"), ("ready", "down"), ("down", "ready")]


@pytest.mark.parametrize("callback", ["plain", "coroutine"])
async def test_every_change_is_told_once_and_logged_once(
    subject: HealthSubject,
    proxy: FaultProxy,
    callback: str,
    caplog: pytest.LogCaptureFixture,
    wait_until_async: Callable[..., Any],
) -> None:
    caplog.set_level(logging.INFO, "async_mongo_pool")
    changes: list[tuple[Readiness, Readiness]] = []

    async def awaited(old: Readiness, new: Readiness) -> None:
        await asyncio.sleep(0)
        changes.append((old, new))

    def plain(old: Readiness, new: Readiness) -> None:
        changes.append((old, new))

    on_change = awaited if callback == "coroutine" and subject.is_async else plain
    monitor = subject.monitor(0.05, timeout=0.5, on_change=on_change)
    await subject.initialize(proxy.uri, heartbeatFrequencyMS=500)
    assert monitor.status().state == "starting"
    await subject.start(monitor)
    await wait_until_async(lambda: monitor.status().ready)
    proxy.cut()
    await wait_until_async(lambda: monitor.status().state == "down")
    looked = monitor.status()
    await wait_until_async(lambda: monitor.status().age_seconds < looked.age_seconds or monitor.status() != looked)
    proxy.heal()
    await wait_until_async(lambda: len(changes) == 3, 10)
    await subject.stop(monitor)
    assert states(changes) == LOST_AND_FOUND
    assert len(said(caplog, f"{subject.name} is lost: ")) == 1
    assert len(said(caplog, f"{subject.name} is restored after ")) == 1


async def test_a_callback_that_fails_is_logged_and_survived(
    subject: HealthSubject,
    proxy: FaultProxy,
    caplog: pytest.LogCaptureFixture,
    wait_until_async: Callable[..., Any],
) -> None:
    calls = []

    def broken(old: Readiness, new: Readiness) -> None:
        calls.append((old, new))
        raise ValueError("the user's own")

    monitor = subject.monitor(0.05, timeout=0.5, on_change=broken)
    await subject.initialize(proxy.uri, heartbeatFrequencyMS=500)
    await subject.start(monitor)
    await wait_until_async(lambda: len(calls) == 1)
    proxy.cut()
    await wait_until_async(lambda: len(calls) == 2)
    assert monitor.running
    await subject.stop(monitor)
    assert len(said(caplog, "on_change failed")) == 2


async def test_a_pool_that_is_opened_closed_and_opened_is_followed(
    subject: HealthSubject,
    mongodb_uri: str,
    caplog: pytest.LogCaptureFixture,
    wait_until_async: Callable[..., Any],
) -> None:
    caplog.set_level(logging.INFO, "async_mongo_pool")
    changes: list[tuple[Readiness, Readiness]] = []
    monitor = subject.monitor(0.02, on_change=lambda old, new: changes.append((old, new)))
    await subject.start(monitor)
    for round_number in (1, 2):
        await subject.initialize(mongodb_uri)
        await wait_until_async(lambda: monitor.status().ready)
        await subject.close()
        await wait_until_async(lambda: monitor.status().state == "down")
        assert round_number == sum(
            pair == ("closing", "down") or pair == ("ready", "down") for pair in states(changes)
        )
    await subject.stop(monitor)
    # Closing it was somebody's decision and no loss.
    assert said(caplog, "is lost") == []


async def test_starting_twice_is_one_monitor_and_it_can_be_started_again(
    subject: HealthSubject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    await subject.initialize(mongodb_uri)
    monitor = subject.monitor(0.02)
    for _ in range(2):
        for _ in range(2):
            await subject.start(monitor)
            assert monitor.running
        assert len(lookers(subject)) == 1
        await wait_until_async(lambda: monitor.status().ready)
        for _ in range(2):
            await subject.stop(monitor)
            assert not monitor.running


async def test_a_long_interval_does_not_delay_the_stop(subject: HealthSubject, mongodb_uri: str) -> None:
    await subject.initialize(mongodb_uri)
    monitor = subject.monitor(3600)
    await subject.start(monitor)
    began = time.monotonic()
    await subject.stop(monitor)
    assert time.monotonic() - began < 1


async def test_it_can_be_stopped_by_its_own_callback(
    subject: HealthSubject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    await subject.initialize(mongodb_uri)

    came_back = []

    async def stop(old: Readiness, new: Readiness) -> None:
        await monitor.stop()
        came_back.append((old, new))

    def stop_blocking(old: Readiness, new: Readiness) -> None:
        monitor.stop()
        came_back.append((old, new))

    monitor: Any = subject.monitor(0.02, on_change=stop if subject.is_async else stop_blocking)
    await subject.start(monitor)
    await wait_until_async(lambda: came_back and not monitor.running)
    assert monitor.status().ready


async def test_it_can_be_started_anew_by_its_own_callback(
    subject: HealthSubject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    await subject.initialize(mongodb_uri)

    async def restart(old: Readiness, new: Readiness) -> None:
        await monitor.stop()
        await monitor.start()

    def restart_blocking(old: Readiness, new: Readiness) -> None:
        monitor.stop()
        monitor.start()

    monitor: Any = subject.monitor(0.02, on_change=restart if subject.is_async else restart_blocking)
    await subject.start(monitor)
    await wait_until_async(lambda: monitor.status().ready)
    looked = monitor.status()
    await wait_until_async(lambda: monitor.running and monitor.status() != looked)
    await wait_until_async(lambda: len(lookers(subject)) == 1)
    await subject.stop(monitor)
    assert not lookers(subject)


@pytest.mark.parametrize("backend", ["motor", "pymongo"])
async def test_a_cancellation_that_the_callback_meets_is_its_own(
    backend: str, mongodb_uri: str, wait_until_async: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    subject = HealthSubject(backend)
    worker = asyncio.ensure_future(asyncio.sleep(60))

    async def stop_the_worker(old: Readiness, new: Readiness) -> None:
        worker.cancel()
        await worker

    await subject.initialize(mongodb_uri)
    async with subject.monitor(0.02, on_change=stop_the_worker) as monitor:
        await wait_until_async(lambda: said(caplog, "on_change failed"))
        looked = monitor.status()
        await wait_until_async(lambda: monitor.status() != looked)
        assert monitor.running
    await subject.close()


def test_a_thread_that_cannot_be_started_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monitor = HealthMonitor(MongoDBConnectionPool.named("never opened"))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            monitor.start()
    assert not monitor.running
    monitor.stop()


async def test_a_block_starts_and_stops_it(mongodb_uri: str) -> None:
    for backend in ("motor", "pymongo"):
        subject = HealthSubject(backend)
        await subject.initialize(mongodb_uri)
        async with subject.monitor(0.02) as monitor:
            assert monitor.running
        assert not monitor.running
        await subject.close()


def test_a_block_starts_and_stops_the_thread(mongodb_uri: str, wait_until: Callable[..., None]) -> None:
    pool = MongoDBConnectionPool.named("monitored in a block")
    pool.initialize(mongodb_uri)
    with HealthMonitor(pool, 0.02, require="primary") as monitor:
        wait_until(lambda: monitor.status().ready)
        assert monitor.status().require == "primary"
        assert repr(monitor) == "<HealthMonitor of monitored in a block: ready>"
    assert not monitor.running
    pool.close()


def test_the_task_ends_with_its_loop(mongodb_uri: str) -> None:
    for backend in ("motor", "pymongo"):
        subject = HealthSubject(backend)
        monitor = subject.monitor(0.02)

        async def work(subject: HealthSubject = subject, monitor: Any = monitor) -> None:
            await subject.initialize(mongodb_uri)
            await monitor.start()
            await asyncio.sleep(0.05)

        asyncio.run(work())
        assert not monitor.running
        # Stopping what has ended is nothing, in a loop of its own and in no time.
        asyncio.run(monitor.stop())
        subject.pool.close_sync()


@pytest.mark.core
def test_bad_arguments_are_named() -> None:
    pool = MongoDBConnectionPool.named("never opened")
    for bad in ({"interval": 0}, {"timeout": -1}, {"require": "all"}, {"fall": 0}, {"on_change": 5}):
        for kind in (HealthMonitor, AsyncHealthMonitor):
            arguments: dict[str, Any] = bad
            with pytest.raises(PoolConfigurationError, match=f"{next(iter(bad))}="):
                kind(pool, **arguments)

    async def awaited(old: Readiness, new: Readiness) -> None: ...

    with pytest.raises(PoolConfigurationError, match="plain function"):
        HealthMonitor(pool, on_change=awaited)


def run(story: str, uri: str) -> dict[str, Any]:
    """Run a story of ``processes.py`` in a process of its own."""
    outcome = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "tests.health.processes", story, uri],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    report: dict[str, Any] = json.loads(outcome.stdout.splitlines()[-1])
    return report | {"stderr": outcome.stderr}


def test_a_forked_child_has_no_monitor_until_it_starts_one(mongodb_uri: str) -> None:
    report = run("fork", mongodb_uri)
    assert report["before"] == [True, "ready"]
    assert report["child"] == [False, "down", "down"]
    assert report["child_again"] == [True, "ready"]
    assert report["parent"] == [True, "ready"]


@pytest.mark.parametrize("story", ["leave_thread", "leave_task"])
def test_it_keeps_no_process_alive(mongodb_uri: str, story: str) -> None:
    began = time.monotonic()
    report = run(story, mongodb_uri)
    assert report["running"] is True
    assert time.monotonic() - began < 10
    assert "Traceback" not in report["stderr"]


def test_a_loss_with_a_glimmer_in_between_is_one_loss(
    mongo_sync_pool: type[MongoDBConnectionPool], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "async_mongo_pool")
    monitor = HealthMonitor(mongo_sync_pool)
    name = monitor.status().pool
    for state in ("ready", "down", "starting", "down", "degraded", "ready", "down"):
        ready = state in ("ready", "degraded")
        answer: Any = {"state": state, "ready": ready, "live": True, "reason": "x", "pool": name, "require": "any"}
        monitor._note(Readiness(**answer))
    assert len(said(caplog, f"{name} is lost")) == 2
    assert len(said(caplog, f"{name} is restored")) == 1


def test_a_monitor_that_is_started_in_another_loop_ends_in_the_first(mongodb_uri: str) -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    subject = HealthSubject("motor")
    monitor = AsyncHealthMonitor(subject.pool, 0.02, timeout=1)
    try:
        first.run_until_complete(subject.initialize(mongodb_uri))
        first.run_until_complete(monitor.start())
        (looking,) = asyncio.all_tasks(first)
        second.run_until_complete(monitor.start())
        second.run_until_complete(monitor.stop())
        first.run_until_complete(asyncio.wait({looking}, timeout=10))
        assert looking.done()
        assert not monitor.running
        first.run_until_complete(subject.close())
    finally:
        for loop in (first, second):
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
