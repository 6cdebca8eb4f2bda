"""Event loops: which one is running, which ones are gone, and one lock for each."""

from __future__ import annotations

import asyncio

__all__ = ["LoopLocks", "describe", "is_being_cancelled", "is_gone", "running_loop"]


running_loop = asyncio._get_running_loop
"""The event loop that runs in this thread, or None: ``get_running_loop`` without the exception, in C."""


def is_gone(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop is closed or stopped: nothing that is bound to it can work."""
    return loop.is_closed() or not loop.is_running()


def is_being_cancelled() -> bool:
    """Whether the running task is itself cancelled: what a callback of the user's raises may be another task's."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def describe(loop: asyncio.AbstractEventLoop | None) -> str:
    """A loop in words, for messages that name two of them."""
    if loop is None:
        return "a thread without a running event loop"
    state = "closed" if loop.is_closed() else "running" if loop.is_running() else "stopped"
    return f"the {state} event loop {type(loop).__name__} {id(loop):#x}"


class LoopLocks:
    """An ``asyncio.Lock`` for each event loop: a lock of asyncio serves one loop only."""

    def __init__(self) -> None:
        self._locks: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}

    def of(self, loop: asyncio.AbstractEventLoop) -> asyncio.Lock:
        """The lock of a loop, made on first use."""
        lock = self._locks.get(loop)
        if lock is None:
            # A lock refers to its loop once it was waited for, so a weak dictionary would keep both for ever.
            self._locks = {known: kept for known, kept in self._locks.items() if not known.is_closed()}
            lock = self._locks.setdefault(loop, asyncio.Lock())
        return lock
