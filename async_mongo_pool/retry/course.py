"""The course of one call of ``run``: every decision about it, without I/O and without waiting.

``tenacity`` runs the loop in both twins and asks here.
"""

from __future__ import annotations

import logging
import random
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from . import backoff
from .decisions import Verdict, judge
from .operation import OperationLimit, deadline_around

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tenacity import RetryCallState

    from .state import RetryState
    from .terms import Terms

__all__ = ["Course"]

logger = logging.getLogger("async_mongo_pool")

_LEAST = 0.001
"""Seconds given to an attempt at least: the driver takes 0 for "no limit"."""

_NEARLY_OVER = 0.1
"""The part of a deadline in which a timeout is the deadline's: the driver takes the round trip off what it grants
the server."""

_SENTENCES = {
    "attempts": "the attempts are used up",
    "budget": "the retry budget of the pool is used up",
    "closed": "the pool was closed",
    "deadline": "the deadline leaves no time for another attempt",
    "not_idempotent": "it was not said to be idempotent",
    "overloaded": "the server is overloaded, and further attempts are left to the driver",
    "permanent": "this error does not pass by itself",
}


class Course:
    """One call of ``run``.

    Args:
        pool: The pool's name.
        state: What its calls share.
        terms: What the caller asked for.
        at_deadline: Called on another thread when the deadline is over and the driver still at work.
        draw: A number from 0 up to, and without, 1.
    """

    def __init__(
        self,
        pool: str,
        state: RetryState,
        terms: Terms,
        at_deadline: Callable[[], object],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._pool = pool
        self._state = state
        self._terms = terms
        self._at_deadline = at_deadline
        self._draw = draw
        self._began = state.clock()
        self._due = _least(deadline_around(), None if terms.deadline is None else self._began + terms.deadline)
        self._failures: list[str] = []
        self._reason: str | None = None
        self._last: Exception | None = None
        self.attempts = 0
        state.recorder.operation()
        state.budget.deposit()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._state.clock() - self._began

    def left(self) -> float | None:
        """Seconds until it must end; None when nothing bounds it as a whole."""
        return None if self._due is None else self._due - self._state.clock()

    def attempt(self) -> AbstractContextManager[Any]:
        """Begin an attempt: the context in which the driver knows what remains of the deadline."""
        self.attempts += 1
        if self.attempts > 1:
            self._state.recorder.retry()
        left = self.left()
        if left is None or self._terms.deadline is None:
            return nullcontext()
        return OperationLimit(max(left, _LEAST), self._at_deadline)

    def pool_is_closed(self) -> Exception | None:
        """The error to raise when the pool was closed between two attempts; None before the first one failed."""
        if self._last is not None:
            self._reason = "closed"
        return self._last

    def passes_on(self, error: Exception) -> bool:
        """Whether the first attempt's error goes to the caller as it is, without a question of retries.

        Args:
            error: What the attempt raised.
        """
        if not isinstance(error, PyMongoError):
            return True
        return not error.timeout and judge(error) in (Verdict.PERMANENT, Verdict.TRANSACTION)

    def controls(self) -> dict[str, Any]:
        """What tenacity asks, at which moment; the twins add how they sleep."""
        return {
            "retry": self._may_retry,
            "wait": self._pause,
            "stop": self._must_stop,
            "before_sleep": self._tell_retry,
            "reraise": True,
        }

    def succeeded(self) -> None:
        """It ended well."""
        if self.attempts > 1:
            self._state.recorder.recovered()

    def gave_up(self, error: Exception) -> bool:
        """It ended with an error: count, log and note why, where a retry was in question at all.

        Args:
            error: What the caller gets.

        Returns:
            Whether ``on_give_up`` is to be called.
        """
        reason = self._reason
        if reason is None or (reason == "permanent" and self.attempts <= 1):
            return False
        seconds = self.seconds
        told = (
            f"{self._pool}.run gave up after {self.attempts} attempt(s) in {seconds:.2f} s: {_SENTENCES[reason]}."
        )
        if len(self._failures) > 1:
            told += (
                f" The attempts before failed with {', '.join(self._failures[:-1])}, and may have taken effect."
            )
        # One error object may be what several calls end with.
        if not any(note.startswith(f"{self._pool}.run gave up") for note in getattr(error, "__notes__", ())):
            error.add_note(told)
        unmentioned = self._state.recorder.gave_up(reason, self._state.clock())
        if unmentioned is not None:
            logger.warning(
                "%s.run gave up after %d attempt(s) in %.2f s (%s): %s; %d more since the last such line",
                self._pool,
                self.attempts,
                seconds,
                type(error).__name__,
                _SENTENCES[reason],
                unmentioned,
            )
        return True

    def tell_failed_callback(self, error: BaseException) -> None:
        """Log that ``on_give_up`` raised; the caller gets the driver's error all the same."""
        logger.warning("%s.run: on_give_up failed (%s)", self._pool, type(error).__name__)

    def _may_retry(self, call: RetryCallState) -> bool:
        error = None if call.outcome is None else call.outcome.exception()
        # Neither a result nor a cancellation is anything to retry.
        if not isinstance(error, Exception):
            return False
        if self._reason is None:
            self._last = error
            self._failures.append(type(error).__name__)
            verdict = judge(error)
            self._reason = self._against(error, verdict)
        return self._reason is None

    def _against(self, error: Exception, verdict: Verdict) -> str | None:
        """What stands against another attempt."""
        if self._is_over(error, verdict):
            return "deadline"
        if verdict is not Verdict.TRANSIENT:
            return "overloaded" if verdict is Verdict.OVERLOADED else "permanent"
        if not self._terms.idempotent:
            return "not_idempotent"
        return "attempts" if self.attempts >= self._terms.attempts else None

    def _is_over(self, error: Exception, verdict: Verdict) -> bool:
        if self._due is None or not isinstance(error, PyMongoError):
            return False
        left = self._due - self._state.clock()
        if error.timeout:
            return left <= _NEARLY_OVER * (self._due - self._began)
        return left <= 0 and verdict is Verdict.TRANSIENT

    def _pause(self, call: RetryCallState) -> float:
        del call
        return backoff.pause(self.attempts, self._draw)

    def _must_stop(self, call: RetryCallState) -> bool:
        left = self.left()
        if len(self._failures) < self.attempts:
            # The function raised tenacity's own TryAgain, which asks for a retry past every decision here.
            return True
        if left is not None and call.upcoming_sleep >= left:
            self._reason = "deadline"
        # The last question, because its answer costs a token.
        elif not self._state.budget.withdraw():
            self._reason = "budget"
        return self._reason is not None

    def _tell_retry(self, call: RetryCallState) -> None:
        logger.debug(
            "%s.run: attempt %d of %d failed (%s), the next one in %.3f s",
            self._pool,
            self.attempts,
            self._terms.attempts,
            self._failures[-1],
            call.upcoming_sleep,
        )


def _least(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)
