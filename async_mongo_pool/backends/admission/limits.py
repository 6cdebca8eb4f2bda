"""How long an operation may wait: the least of three limits, each with the name by which the user knows it."""

from __future__ import annotations

from contextvars import Context
from dataclasses import dataclass
from typing import Any

import pymongo

_csot: Any
try:
    from pymongo import _csot
except ImportError:  # a private module: without it the driver alone watches over pymongo.timeout
    _csot = None

__all__ = ["WaitLimits", "run_within"]


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """The limits of one client.

    Attributes:
        wait_queue_ms: waitQueueTimeoutMS; None is no limit.
        timeout_ms: timeoutMS; None is no limit.
    """

    wait_queue_ms: float | None = None
    timeout_ms: float | None = None

    def due(self, now: float) -> tuple[float | None, str, float | None]:
        """When the wait of an operation submitted now must end; to be asked in its caller's context.

        Args:
            now: By ``time.monotonic()``.

        Returns:
            The time; which limit that is, in words; and when timeoutMS ends the operation as a whole, None
            where the caller's own ``pymongo.timeout`` takes its place.
        """
        due, name = None, ""
        if self.wait_queue_ms is not None:
            due, name = now + self.wait_queue_ms / 1000, self.wait_queue_name
        callers = _csot.TIMEOUT.get() if _csot is not None else None
        if callers is None:
            if self.timeout_ms:
                end = now + self.timeout_ms / 1000
                if due is None or end < due:
                    due, name = end, f"timeoutMS={self.timeout_ms:g}"
                return due, name, end
        elif callers:
            end = _csot.DEADLINE.get()
            if due is None or end < due:
                due, name = end, "pymongo.timeout"
        return due, name, None

    def in_driver(self, call: Any) -> str:
        """Which limit ended a wait in the driver's own queue, in words.

        Args:
            call: What Motor handed to ``run_in_executor``: its context knows the caller's ``pymongo.timeout``.
        """
        context = getattr(getattr(call, "func", None), "__self__", None)
        if _csot is not None and isinstance(context, Context) and context.get(_csot.TIMEOUT):
            return "pymongo.timeout"
        return f"timeoutMS={self.timeout_ms:g}" if self.timeout_ms else self.wait_queue_name

    @property
    def wait_queue_name(self) -> str:
        """The limit of the driver's own queue, in words."""
        return "the driver's queue" if self.wait_queue_ms is None else f"waitQueueTimeoutMS={self.wait_queue_ms:g}"


def run_within(call: Any, seconds: float) -> None:
    """Give what remains of timeoutMS to a call that waited; in its own context, which nothing else uses.

    Args:
        call: What Motor hands to ``run_in_executor``.
        seconds: What remains.
    """
    run: Any = getattr(call, "func", None)
    if getattr(run, "__name__", "") == "run":
        enter: Any = pymongo.timeout(max(seconds, 0.001)).__enter__
        run(enter)
