"""What retries did, counted from any thread."""

from __future__ import annotations

import threading
from collections import Counter

from async_mongo_pool.retry_stats import REASONS, RetryStats

__all__ = ["RetryRecorder"]

TELLING_INTERVAL = 1.0
"""Seconds between two warnings of one pool: those in between are counted in the next one."""


class RetryRecorder:
    """Counts, from any thread."""

    def __init__(self) -> None:
        # Re-entrant, because a signal handler may run an operation while this thread counts one.
        self._lock = threading.RLock()
        self._operations = 0
        self._retries = 0
        self._recovered = 0
        self._given_up: Counter[str] = Counter()
        self._abandoned = 0
        self._abandoned_ended = 0
        self._told_at: float | None = None
        self._untold = 0
        self._latest: RetryStats | None = None

    def operation(self) -> None:
        """A call of ``run`` began."""
        with self._lock:
            self._operations += 1
            self._latest = None

    def retry(self) -> None:
        """It is tried again."""
        with self._lock:
            self._retries += 1
            self._latest = None

    def recovered(self) -> None:
        """It succeeded after a retry."""
        with self._lock:
            self._recovered += 1
            self._latest = None

    def abandoned(self) -> None:
        """Its caller was cancelled, and the driver goes on."""
        with self._lock:
            self._abandoned += 1
            self._latest = None

    def abandoned_ended(self) -> None:
        """The driver has come to an end with it."""
        with self._lock:
            self._abandoned_ended += 1
            self._latest = None

    def gave_up(self, reason: str, now: float) -> int | None:
        """It was given up.

        Args:
            reason: One of ``REASONS``.
            now: Seconds, by a monotonic clock.

        Returns:
            How many were given up unmentioned since the last warning, if it is time for the next one; else None.
        """
        with self._lock:
            self._given_up[reason] += 1
            self._latest = None
            if self._told_at is not None and now - self._told_at < TELLING_INTERVAL:
                self._untold += 1
                return None
            self._told_at, unmentioned, self._untold = now, self._untold, 0
            return unmentioned

    def stats(self, budget: float) -> RetryStats:
        """Everything at one moment.

        Args:
            budget: What the pool's budget holds.
        """
        with self._lock:
            # Most snapshots find that nobody retried anything since the last one.
            if self._latest is None or self._latest.budget != budget:
                self._latest = RetryStats(
                    operations=self._operations,
                    retries=self._retries,
                    recovered=self._recovered,
                    given_up={reason: self._given_up[reason] for reason in REASONS},
                    abandoned=self._abandoned,
                    abandoned_running=self._abandoned - self._abandoned_ended,
                    budget=budget,
                )
            return self._latest
