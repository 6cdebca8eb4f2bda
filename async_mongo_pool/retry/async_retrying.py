"""``run``, ``retrying`` and ``operation`` of the asynchronous pool; what it decides is in ``course``."""

from __future__ import annotations

import asyncio
import functools
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar

import tenacity

from async_mongo_pool.loops import is_being_cancelled

from .clients import current_client
from .course import Course
from .functions import check_function, check_result, without_client
from .operation import OperationLimit
from .shield import shielded
from .state import state_of
from .terms import ATTEMPTS, Terms, checked_seconds
from .waking import wake_searches

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from async_mongo_pool.lifecycle import Lifecycle
    from async_mongo_pool.retry_stats import RetryStats

    from .clients import Current
    from .terms import OnGiveUp

__all__ = ["AsyncRetrying"]

T = TypeVar("T")
P = ParamSpec("P")


class AsyncRetrying:
    """The part of the asynchronous pool that retries and limits."""

    _lifecycle: ClassVar[Lifecycle]
    _opens_with: ClassVar[str]

    @classmethod
    async def run(
        cls,
        function: Callable[[Any], Awaitable[T]],
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

        With AsyncMongoClient the function runs in a task of its own. A cancelled caller returns at once, and that
        task finishes in the background (for 30 s at most where there is no deadline), because a cancelled driver
        call costs its connection. So the function must use nothing that its caller ends, a session least of all.
        With Motor a cancellation passes on, and the driver finishes in its thread.

        Args:
            function: Called with the driver's client; returns anything that can be awaited.
            idempotent: Whether calling it twice does no harm. Without it nothing is retried, because neither an
                error nor its labels prove that nothing was done by then.
            deadline: Seconds for everything, pauses and waiting for a server included; None leaves it to the
                client's own limits. The driver keeps it (``pymongo.timeout``), and as for each of its time limits
                retries single operations more than once within it. What the function does beside the driver is not
                interrupted.
            attempts: How often the function is called at most.
            on_give_up: Called with the error, the number of attempts and the seconds when a transient error is
                passed on, or any error after a retry; it may be a coroutine function.

        Returns:
            What the function returned.

        Raises:
            PoolNotInitializedError: The pool is not open.
            PoolClosingError: The pool is closing.
            PoolLoopError: The client is bound to another event loop that is still running.
            PoolConfigurationError: An argument cannot be used.
            TypeError: The function returned a cursor that was not read, or a generator.
            Exception: What the last attempt raised; a note on it says why there is no further one.
        """
        check_function(function)
        return await cls._run(function, Terms(idempotent, deadline, attempts, on_give_up))

    @classmethod
    def retrying(
        cls,
        *,
        idempotent: bool = False,
        deadline: float | None = None,
        attempts: int = ATTEMPTS,
        on_give_up: OnGiveUp | None = None,
    ) -> Callable[[Callable[Concatenate[Any, P], Awaitable[T]]], Callable[P, Coroutine[Any, Any, T]]]:
        """``run`` as a decorator, for functions that take the client first; their callers leave it out.

        Args:
            idempotent: As for ``run``; so are all the others.
            deadline: Seconds for each call.
            attempts: How often the function is called at most, for each call.
            on_give_up: Called when a call is given up.

        Raises:
            PoolConfigurationError: An argument cannot be used.
        """
        terms = Terms(idempotent, deadline, attempts, on_give_up)

        def decorate(
            function: Callable[Concatenate[Any, P], Awaitable[T]],
        ) -> Callable[P, Coroutine[Any, Any, T]]:
            check_function(function)

            @functools.wraps(function)
            async def call(*arguments: P.args, **keywords: P.kwargs) -> T:
                return await cls._run(lambda client: function(client, *arguments, **keywords), terms)

            return without_client(call, function)

        return decorate

    @classmethod
    def operation(cls, *, timeout: float) -> OperationLimit:
        """A time limit for every driver call in a ``with`` or ``async with`` block.

        It is the driver's own deadline (``pymongo.timeout``): waiting for a server and for a connection count, the
        server ends the command, and the thread and the connection are free again when it is over. ``wait_for``
        frees neither. Of nested ones the least holds.

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
    async def _run(cls, function: Callable[[Any], Awaitable[T]], terms: Terms) -> T:
        state = state_of(cls._lifecycle)
        course = Course(cls._lifecycle.name, state, terms, partial(wake_searches, cls._lifecycle))

        async def attempt() -> T:
            current = current_client(cls._lifecycle, cls._opens_with, course)
            with course.attempt():
                if current.handle.backend == "motor":
                    return await _called(function, current)
                return await shielded(lambda: _called(function, current), state.recorder, course.left)

        try:
            result = await attempt()
        except Exception as error:
            if course.passes_on(error):
                raise
            result = await _again(course, attempt, terms.on_give_up, error)
        course.succeeded()
        return result


async def _again(
    course: Course, attempt: Callable[[], Awaitable[T]], on_give_up: OnGiveUp | None, first: Exception
) -> T:
    failed = [first]

    async def next_attempt() -> T:
        # The loop starts from the attempt that failed: what succeeds at once does not pay for it.
        if failed:
            raise failed.pop()
        return await attempt()

    loop = tenacity.AsyncRetrying(sleep=asyncio.sleep, **course.controls())
    try:
        result: T = await loop(next_attempt)
    except Exception as error:
        if course.gave_up(error) and on_give_up is not None:
            await _tell(course, on_give_up, error)
        raise
    return result


async def _called(function: Callable[[Any], Awaitable[T]], current: Current) -> T:
    with current.handle.working():
        # A driver's call may return a future, which no task can be made of.
        awaitable = function(current.client)
        if not inspect.isawaitable(awaitable):
            raise TypeError(
                f"run() needs a function that returns something to await; this one returned "
                f"{type(awaitable).__name__}. Use `async def`; a cursor is read with `await cursor.to_list(...)`."
            )
        result = await awaitable
    check_result(result)
    return result


async def _tell(course: Course, on_give_up: OnGiveUp, error: Exception) -> None:
    try:
        outcome = on_give_up(error, course.attempts, course.seconds)
        if inspect.isawaitable(outcome):
            await outcome
    except (Exception, asyncio.CancelledError) as failure:
        # It may be that of another task, which the callback waited for.
        if is_being_cancelled():
            raise
        course.tell_failed_callback(failure)
