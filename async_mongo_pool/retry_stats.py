"""What retries did, in numbers: the part of the snapshot that belongs to the pool and not to its client."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .plain import Plain, difference

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NO_RETRIES", "REASONS", "RetryStats"]

REASONS = ("attempts", "budget", "closed", "deadline", "not_idempotent", "overloaded", "permanent")
"""Why ``run`` gave up: every key of ``RetryStats.given_up``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStats(Plain):
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
    given_up: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    abandoned: int = 0
    abandoned_running: int = 0
    budget: float = 0.0

    def since(self, previous: RetryStats) -> RetryStats:
        """The counts that were added after ``previous``, beside the state of now.

        A ``previous`` with higher counts is one of another process, before a fork; it counts as zero.
        """
        if previous.operations > self.operations:
            return self
        return replace(
            self,
            operations=self.operations - previous.operations,
            retries=self.retries - previous.retries,
            recovered=self.recovered - previous.recovered,
            given_up=difference(self.given_up, previous.given_up),
            abandoned=self.abandoned - previous.abandoned,
        )


NO_RETRIES = RetryStats()
"""Of a pool that nobody asked to retry anything."""
