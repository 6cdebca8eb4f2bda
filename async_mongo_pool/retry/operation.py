"""The driver's own deadline around a block: the one time limit that frees the thread and the connection."""

from __future__ import annotations

import time
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

import pymongo

from .alarm import alarm

_csot: Any
try:
    from pymongo import _csot
except ImportError:  # a private module: without it the driver alone watches over pymongo.timeout
    _csot = None

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = ["OperationLimit", "deadline_around"]

_AFTERWARDS = 0.002
"""Seconds after a deadline at which the driver surely takes it for past."""

_entered: ContextVar[tuple[tuple[OperationLimit, AbstractContextManager[Any], object], ...]] = ContextVar(
    "async_mongo_pool_limits", default=()
)
"""What this task or thread has entered: one limit may serve many of them at once."""


class OperationLimit:
    """A time limit for every driver call in a block; ``with`` and ``async with`` do the same.

    It may be entered again and again, nested, and by many tasks and threads at once; each time it counts anew.

    Args:
        seconds: From the entry of the block on; already checked.
        at_end: Called on another thread when they are over and the block is not left; it makes the driver look at
            its clock.
    """

    def __init__(self, seconds: float, at_end: Callable[[], object]) -> None:
        self.seconds = seconds
        self._at_end = at_end

    def __repr__(self) -> str:
        return f"<OperationLimit of {self.seconds:g} s>"

    def __enter__(self) -> Self:
        limit = pymongo.timeout(self.seconds)
        limit.__enter__()
        key = alarm.set(time.monotonic() + self.seconds + _AFTERWARDS, self._at_end)
        _entered.set((*_entered.get(), (self, limit, key)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        *outer, (owner, limit, key) = _entered.get() or ((None, None, None),)
        # Left in another context than entered, as by an async generator that is closed elsewhere, it is not in
        # force here and there is nothing to restore.
        if owner is self and limit is not None:
            alarm.stop(key)
            _entered.set(tuple(outer))
            # A task that was made inside the block has a copy of what was entered, and cannot undo it.
            with suppress(ValueError):
                limit.__exit__(kind, error, trace)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def deadline_around() -> float | None:
    """When the ``operation`` or ``pymongo.timeout`` around the caller ends, by ``time.monotonic()``."""
    if _csot is None or not _csot.get_timeout():
        return None
    end: float = _csot.get_deadline()
    return end
