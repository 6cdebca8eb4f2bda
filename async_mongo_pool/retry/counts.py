"""What retries did, in numbers: a frozen snapshot and the recorder behind it."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["REASONS", "RetryRecorder", "RetryStats"]

REASONS = ("attempts", "budget", "closed", "deadline", "not_idempotent", "overloaded", "permanent")
"""Why ``run`` gave up: every key of ``RetryStats.given_up``."""

TELLING_INTERVAL = 1.0
"""Seconds between two warnings of one pool: those in between are counted in the next one."""


@dataclass(frozen=True, slots=True)
class RetryStats:
    """What ``run`` and ``retrying`` of one pool did since the process started; it survives closing and replacing.

    Attributes:
        operations: Calls of ``run``.
        retries: Attempts that the pool made beyond the first, of all of them; the driver's own are not counted.
        recovered: Calls that succeeded after a retry.
        given_up: Calls that ended with an error that a retry might have cured, by what stood against one:
            "attempts", "budget", "closed" (the pool), "deadline", "not_idempotent", "overloaded" (the server),
            "permanent" (after a retry, an error that does not pass). Every key is always there.
        abandoned: Calls whose caller was cancelled while the driver was at work (AsyncMongoClient).
        abandoned_running: Those of them that have not ended yet.
        budget: Retries that could be made at once, now.
    """

    operations: int = 0
    retries: int = 0
    recovered: int = 0
    given_up: Mapping[str, int] = field(default_factory=lambda: MappingProxyType(dict.fromkeys(REASONS, 0)))
    abandoned: int = 0
    abandoned_running: int = 0
    budget: float = 0.0

    @property
    def budget_refused(self) -> int:
        """Calls that were given up because the pool's retry budget was used up."""
        return self.given_up["budget"]


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

    def operation(self) -> None:
        """A call of ``run`` began."""
        with self._lock:
            self._operations += 1

    def retry(self) -> None:
        """It is tried again."""
        with self._lock:
            self._retries += 1

    def recovered(self) -> None:
        """It succeeded after a retry."""
        with self._lock:
            self._recovered += 1

    def abandoned(self) -> None:
        """Its caller was cancelled, and the driver goes on."""
        with self._lock:
            self._abandoned += 1

    def abandoned_ended(self) -> None:
        """The driver has come to an end with it."""
        with self._lock:
            self._abandoned_ended += 1

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
            return RetryStats(
                operations=self._operations,
                retries=self._retries,
                recovered=self._recovered,
                given_up=MappingProxyType({reason: self._given_up[reason] for reason in REASONS}),
                abandoned=self._abandoned,
                abandoned_running=self._abandoned - self._abandoned_ended,
                budget=budget,
            )
