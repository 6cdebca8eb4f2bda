"""The driver's own deadline around a block: the one time limit that frees the thread and the connection."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

import pymongo

_csot: Any
try:
    from pymongo import _csot
except ImportError:  # a private module: without it the driver alone watches over pymongo.timeout
    _csot = None

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = ["OperationLimit", "deadline_around"]

_entered: ContextVar[tuple[tuple[OperationLimit, AbstractContextManager[Any]], ...]] = ContextVar(
    "async_mongo_pool_limits", default=()
)
"""What this task or thread has entered: one limit may serve many of them at once."""


class OperationLimit:
    """A time limit for every driver call in a block; ``with`` and ``async with`` do the same.

    It may be entered again and again, nested, and by many tasks and threads at once; each time it counts anew.

    Args:
        seconds: From the entry of the block on; already checked.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"<OperationLimit of {self.seconds:g} s>"

    def __enter__(self) -> Self:
        limit = pymongo.timeout(self.seconds)
        limit.__enter__()
        _entered.set((*_entered.get(), (self, limit)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        *outer, (owner, limit) = _entered.get() or ((None, None),)
        # Left in another context than entered, as by an async generator that is closed elsewhere, it is not in
        # force here and there is nothing to restore.
        if owner is self and limit is not None:
            _entered.set(tuple(outer))
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
