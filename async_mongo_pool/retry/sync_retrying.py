"""``run``, ``retrying`` and ``operation`` of the synchronous twin; what it decides is in ``course``."""

from __future__ import annotations

import functools
import inspect
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar

import tenacity

from .clients import current_client
from .course import Course
from .functions import check_function, check_result, without_client
from .operation import OperationLimit
from .state import state_of
from .terms import ATTEMPTS, Terms, checked_seconds
from .waking import wake_searches

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.lifecycle import Lifecycle
    from async_mongo_pool.retry_stats import RetryStats

    from .clients import Current
    from .terms import OnGiveUp

__all__ = ["SyncRetrying"]

T = TypeVar("T")
P = ParamSpec("P")


class SyncRetrying:
    """The part of the twin that retries and limits."""

    _lifecycle: ClassVar[Lifecycle]
    _opens_with: ClassVar[str]

    @classmethod
    def run(
        cls,
        function: Callable[[Any], T],
        *,
        idempotent: bool = False,
        deadline: float | None = None,
        attempts: int = ATTEMPTS,
        on_give_up: OnGiveUp | None = None,
    ) -> T:
        """Call ``function`` with the open client, and again where that is safe and may help.

        The driver retries most single operations once by itself. This adds pauses (at random up to 0.05 s,
        doubling up to 1 s), a total deadline and a budget that all calls of this pool share: a fifth of the calls
        may be retried, and a few more. Network errors, elections and what the server labels as retryable are tried
        again. A full connection pool, a duplicate key, bulk writes, wrong configuration and everything in a
        transaction are not.

        Args:
            function: Called with the driver's client.
            idempotent: Whether calling it twice does no harm. Without it nothing is retried, because neither an
                error nor its labels prove that nothing was done by then.
            deadline: Seconds for everything, pauses and waiting for a server included; None leaves it to the
                client's own limits. The driver keeps it (``pymongo.timeout``), and as for each of its time limits
                retries single operations more than once within it. What the function does beside the driver is not
                interrupted.
            attempts: How often the function is called at most.
            on_give_up: Called with the error, the number of attempts and the seconds when a transient error is
                passed on, or any error after a retry.

        Returns:
            What the function returned.

        Raises:
            PoolNotInitializedError: The pool is not open.
            PoolClosingError: The pool is closing.
            PoolConfigurationError: An argument cannot be used.
            TypeError: The function returned a cursor that was not read, or a generator.
            Exception: What the last attempt raised; a note on it says why there is no further one.
        """
        check_function(function)
        return cls._run(function, Terms(idempotent, deadline, attempts, on_give_up).without_await())

    @classmethod
    def retrying(
        cls,
        *,
        idempotent: bool = False,
        deadline: float | None = None,
        attempts: int = ATTEMPTS,
        on_give_up: OnGiveUp | None = None,
    ) -> Callable[[Callable[Concatenate[Any, P], T]], Callable[P, T]]:
        """``run`` as a decorator, for functions that take the client first; their callers leave it out.

        Args:
            idempotent: As for ``run``; so are all the others.
            deadline: Seconds for each call.
            attempts: How often the function is called at most, for each call.
            on_give_up: Called when a call is given up.

        Raises:
            PoolConfigurationError: An argument cannot be used.
        """
        terms = Terms(idempotent, deadline, attempts, on_give_up).without_await()

        def decorate(function: Callable[Concatenate[Any, P], T]) -> Callable[P, T]:
            check_function(function)

            @functools.wraps(function)
            def call(*arguments: P.args, **keywords: P.kwargs) -> T:
                return cls._run(lambda client: function(client, *arguments, **keywords), terms)

            return without_client(call, function)

        return decorate

    @classmethod
    def operation(cls, *, timeout: float) -> OperationLimit:
        """A time limit for every driver call in a ``with`` block.

        It is the driver's own deadline (``pymongo.timeout``): waiting for a server and for a connection count, the
        server ends the command, and the connection is free again when it is over. Of nested ones the least holds.

        Args:
            timeout: Seconds from the entry of the block on, for all calls in it together.

        Raises:
            PoolConfigurationError: It is not a number of seconds above 0.
        """
        return OperationLimit(checked_seconds("timeout", timeout), partial(wake_searches, cls._lifecycle))

    @classmethod
    def retry_stats(cls) -> RetryStats:
        """What ``run`` and ``retrying`` of this pool have done so far; memory only, never raises."""
        return state_of(cls._lifecycle).stats()

    @classmethod
    def _run(cls, function: Callable[[Any], T], terms: Terms) -> T:
        course = Course(
            cls._lifecycle.name, state_of(cls._lifecycle), terms, partial(wake_searches, cls._lifecycle)
        )

        def attempt() -> T:
            current = current_client(cls._lifecycle, cls._opens_with, course)
            with course.attempt():
                return _called(function, current)

        try:
            result = attempt()
        except Exception as error:
            if course.passes_on(error):
                raise
            result = _again(course, attempt, terms.on_give_up, error)
        course.succeeded()
        return result


def _again(course: Course, attempt: Callable[[], T], on_give_up: OnGiveUp | None, first: Exception) -> T:
    failed = [first]

    def next_attempt() -> T:
        # The loop starts from the attempt that failed: what succeeds at once does not pay for it.
        if failed:
            raise failed.pop()
        return attempt()

    loop = tenacity.Retrying(sleep=time.sleep, **course.controls())
    try:
        return loop(next_attempt)
    except Exception as error:
        if course.gave_up(error) and on_give_up is not None:
            _tell(course, on_give_up, error)
        raise


def _called(function: Callable[[Any], T], current: Current) -> T:
    with current.handle.working():
        result = function(current.client)
    if inspect.iscoroutine(result):
        # Closed, so that it is not reported as forgotten on top of the error.
        result.close()
        raise TypeError("run() of the synchronous pool needs a plain function; this one is a coroutine function.")
    check_result(result)
    return result


def _tell(course: Course, on_give_up: OnGiveUp, error: Exception) -> None:
    try:
        on_give_up(error, course.attempts, course.seconds)
    except Exception as failure:
        course.tell_failed_callback(failure)
