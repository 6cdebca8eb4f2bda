"""The retry budget of a pool: a storm of failures must not become a storm of retries."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CAPACITY", "REFILL", "RESERVE", "SHARE", "RetryBudget"]

SHARE = 0.2
"""Retries that each operation earns for everybody."""
RESERVE = 10.0
"""Retries that are there from the start, and come back with time: a quiet pool may retry too."""
REFILL = 1.0
"""Retries a second by which the reserve comes back."""
CAPACITY = 100.0
"""The most retries that can be saved up."""


class RetryBudget:
    """A token bucket: operations put a fifth of a token in, a retry takes one out.

    Over any period the retries are at most a fifth of the operations, and the reserve, and one a second.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Re-entrant, because a signal handler may run an operation while this thread counts one.
        self._lock = threading.RLock()
        self._tokens = RESERVE
        self._refilled = clock()

    def deposit(self) -> None:
        """Count an operation."""
        now = self._clock()
        with self._lock:
            self._refill(now)
            self._tokens = min(CAPACITY, self._tokens + SHARE)

    def withdraw(self) -> bool:
        """Take one retry out; False when there is none."""
        now = self._clock()
        with self._lock:
            self._refill(now)
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def tokens(self) -> float:
        """The retries that could be made now, at once."""
        now = self._clock()
        with self._lock:
            self._refill(now)
            return self._tokens

    def _refill(self, now: float) -> None:
        # Whoever read the clock first may get the lock last.
        seconds = max(now - self._refilled, 0.0)
        self._refilled += seconds
        if self._tokens < RESERVE:
            self._tokens = min(RESERVE, self._tokens + seconds * REFILL)
