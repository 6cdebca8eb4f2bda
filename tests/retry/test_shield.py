"""Calls that outlive a cancelled caller, without a server."""

from __future__ import annotations

import asyncio
import gc
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from async_mongo_pool.retry import shield
from async_mongo_pool.retry.counts import RetryRecorder
from async_mongo_pool.retry.shield import shielded

from .subjects import settled

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.core


class Call:
    """A call that waits until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.began = asyncio.Event()
        self.gate = asyncio.Event()
        self.ended: str | None = None
        self.error = error

    async def __call__(self) -> str:
        self.began.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.ended = "cancelled"
            raise
        self.ended = "done"
        if self.error is not None:
            raise self.error
        return "result"


def counts(recorder: RetryRecorder) -> tuple[int, int]:
    stats = recorder.stats(0)
    return stats.abandoned, stats.abandoned_running


def start(call: Call, recorder: RetryRecorder, left: float | None = None) -> asyncio.Task[str]:
    return asyncio.ensure_future(shielded(call, recorder, lambda: left))


async def test_results_and_errors_come_through() -> None:
    recorder = RetryRecorder()
    for error in (None, ValueError("own")):
        call = Call(error)
        task = start(call, recorder)
        await call.began.wait()
        call.gate.set()
        assert await settled(task) is error
    assert counts(recorder) == (0, 0)


@pytest.mark.parametrize("error", [None, ValueError("nobody asked")], ids=repr)
async def test_a_cancelled_caller_returns_at_once_and_the_call_goes_on(
    error: Exception | None, wait_until_async: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    recorder, call = RetryRecorder(), Call(error)
    task = start(call, recorder)
    await call.began.wait()
    task.cancel("enough")
    assert isinstance(await settled(task), asyncio.CancelledError)
    assert call.ended is None
    assert counts(recorder) == (1, 1)
    call.gate.set()
    await wait_until_async(lambda: call.ended == "done" and counts(recorder) == (1, 0))
    assert not shield._abandoned
    # Its error is nobody's: the event loop must not complain of one that was never retrieved.
    del task
    gc.collect()
    assert caplog.text == ""


async def test_anyios_repeated_cancellation_does_not_reach_it(wait_until_async: Callable[..., Any]) -> None:
    recorder, call = RetryRecorder(), Call()
    with anyio.move_on_after(0.05) as scope:
        await shielded(call, recorder, lambda: None)
    assert scope.cancelled_caught
    await asyncio.sleep(0)
    assert call.ended is None
    call.gate.set()
    await wait_until_async(lambda: counts(recorder) == (1, 0))
    assert call.ended == "done"


@pytest.mark.parametrize("left", [None, 0.02])
async def test_an_abandoned_call_has_a_bound(
    left: float | None, monkeypatch: pytest.MonkeyPatch, wait_until_async: Callable[..., Any]
) -> None:
    monkeypatch.setattr(shield, "ABANDONED_LIMIT", 0.02)
    monkeypatch.setattr(shield, "_GRACE", 0.01)
    recorder, call = RetryRecorder(), Call()
    task = start(call, recorder, left)
    await call.began.wait()
    task.cancel()
    await settled(task)
    await wait_until_async(lambda: call.ended == "cancelled" and counts(recorder) == (1, 0))


async def test_the_call_sees_the_context_of_its_caller() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("seen")

    async def call() -> str:
        return variable.get()

    assert await shielded(call, RetryRecorder(), lambda: None) == "seen"


async def test_a_call_that_cancels_itself_looks_like_that() -> None:
    async def call() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await shielded(call, RetryRecorder(), lambda: None)


def test_a_loop_that_was_closed_over_an_abandoned_call_is_forgotten() -> None:
    recorder = RetryRecorder()

    def abandon_one() -> None:
        loop = asyncio.new_event_loop()
        call = Call()
        task = loop.create_task(shielded(call, recorder, lambda: None))
        loop.run_until_complete(call.began.wait())
        task.cancel()
        loop.run_until_complete(settled(task))
        loop.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        abandon_one()
        assert counts(recorder) == (1, 1)
        abandon_one()
        assert counts(recorder) == (2, 1)
        for left in list(shield._abandoned):
            left._log_destroy_pending = False  # type: ignore[attr-defined]
        shield._abandoned.clear()
        gc.collect()
