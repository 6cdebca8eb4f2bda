"""Waiting for a condition, always with a bound."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["wait_until", "wait_until_async"]

_INTERVAL = 0.02


def wait_until(
    condition: Callable[[], object],
    timeout: float = 5.0,
    message: str | Callable[[], str] = "the condition",
    interval: float = _INTERVAL,
) -> None:
    """Wait until `condition()` is true.

    Args:
        condition: Called again and again, at least once; an exception of it ends the wait.
        timeout: Seconds to wait at most. Default 5.
        message: What is waited for, for the error; a callable is asked when the time is up.
        interval: Seconds between two looks. Default 0.02.

    Raises:
        TimeoutError: The condition was still false after `timeout`.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            raise TimeoutError(_too_late(message, timeout))
        time.sleep(interval)


async def wait_until_async(
    condition: Callable[[], object | Awaitable[object]],
    timeout: float = 5.0,
    message: str | Callable[[], str] = "the condition",
    interval: float = _INTERVAL,
) -> None:
    """Wait until `condition()`, or what it returns when awaited, is true, without blocking the event loop.

    Args:
        condition: Called again and again, at least once; an exception of it ends the wait.
        timeout: Seconds to wait at most, an awaited condition included. Default 5.
        message: What is waited for, for the error; a callable is asked when the time is up.
        interval: Seconds between two looks. Default 0.02.

    Raises:
        TimeoutError: The condition was still false after `timeout`.
    """
    bound = asyncio.timeout(timeout)
    try:
        async with bound:
            while not await _outcome(condition):  # noqa: ASYNC110 - it can be any condition
                await asyncio.sleep(interval)
    except TimeoutError as error:
        if not bound.expired():
            raise
        raise TimeoutError(_too_late(message, timeout)) from error


async def _outcome(condition: Callable[[], object | Awaitable[object]]) -> object:
    outcome = condition()
    return await outcome if inspect.isawaitable(outcome) else outcome


def _too_late(message: str | Callable[[], str], timeout: float) -> str:
    described = message if isinstance(message, str) else message()
    return f"waited {timeout:g} s in vain for {described}"
