"""How the synchronous pool opens a client: one attempt at a time, over all threads."""

from __future__ import annotations

import inspect
import time
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from pymongo.errors import PyMongoError

from .backends import pymongo_sync
from .bounds import time_to_close
from .config import Secret
from .daemon import in_daemon_thread
from .diagnosis import explain_failure, for_log, is_unreachable
from .errors import PoolClosingError, PoolConfigurationError, PoolStartTimeoutError
from .key_file import refuse_a_locked_key
from .lifecycle import JOIN_GRACE, Lead, Reuse
from .pool_base import logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from .asking import Asking, Manner, Request
    from .backends.pymongo_sync import PyMongoSyncHandle
    from .calls import Call
    from .config import ClientSettings
    from .lifecycle import Lifecycle
    from .patience import Patience
    from .pool_base import PoolBase

__all__ = ["open_handle", "open_patiently"]


def open_handle(
    pool: type[PoolBase],
    request: Request,
    manner: Manner,
    call: Call,
) -> PyMongoSyncHandle:
    """Open the pool's client, or share what is open or being opened.

    Args:
        pool: The pool class.
        request: What was asked for.
        manner: How.
        call: The call that asks.

    Raises:
        PyMongoError: As ``initialize`` documents.
    """
    lifecycle = pool._lifecycle
    asking = lifecycle.ask(request, manner)
    arrival = lifecycle.arrival()
    seconds = asking.seconds(manner.timeout)
    deadline = time.monotonic() + seconds
    if call.by_scope and asking.settings is None:
        # A scope has to know what a callable means, to tell whether it shares what is open.
        _find_out(lifecycle, asking, deadline)
    lock = lifecycle.thread_lock
    if not lock.acquire(timeout=max(deadline - time.monotonic(), 0) + JOIN_GRACE):
        raise PoolStartTimeoutError.after(lifecycle.name, seconds, "waiting for another initialize")
    try:
        step = lifecycle.claim(asking, arrival, deadline, call)
        if isinstance(step, Reuse):
            return cast("PyMongoSyncHandle", step.handle)
        if not isinstance(step, Lead):
            # Every attempt of the twin runs under this lock: this one is our own caller.
            raise PoolConfigurationError(f"{lifecycle.name}.initialize was called from inside its own initialize.")
        handle, replaced = _lead(pool, asking, step, deadline)
    finally:
        lock.release()
    if replaced is not None:
        _tell_user(handle, replaced)
    return handle


def open_patiently(
    pool: type[PoolBase],
    request: Request,
    manner: Manner,
    patience: Patience,
    ticket: object | None = None,
) -> PyMongoSyncHandle:
    """``open_handle``, again and again while no server can be reached, for as long as the caller is patient.

    Args:
        pool: The pool class.
        request: What was asked for.
        manner: How.
        patience: For how long, and what then.
        ticket: A scope's, which never replaces; None for ``initialize`` and ``rotate``.

    Raises:
        PyMongoError: As ``initialize`` documents.
    """
    name = pool._lifecycle.name
    with pool._lifecycle.calling(None, ticket) as call:
        while True:
            try:
                return open_handle(pool, request, manner._replace(degraded=patience.gives_in()), call)
            except PyMongoError as error:
                pause = patience.pause(error)
                if pause is None:
                    raise
                logger.info("%s: trying again in %.2f s: %s", name, pause, error)
            wait((call.closed,), pause)
            if call.closed.done():
                raise PoolClosingError.of(name)


def _lead(
    pool: type[PoolBase], asking: Asking, step: Lead, deadline: float
) -> tuple[PyMongoSyncHandle, PyMongoSyncHandle | None]:
    lifecycle = pool._lifecycle
    failure: Exception | None = None
    began = time.monotonic()
    try:
        for dead in step.dead:
            pool._finish_dead(dead)
        settings = asking.settings
        if settings is None:
            settings = _called(lifecycle.name, asking, deadline)
            alike = lifecycle.opened_alike(asking, settings)
            if alike is not None:
                return cast("PyMongoSyncHandle", alike), None
            asking.found(settings)
        refuse_a_locked_key(settings)
        handle = step.attempt.handle = pymongo_sync.create(lifecycle.name, settings)
        handle.when_finished = pool._closed
        with _closed_if_it_fails(handle, deadline):
            seconds = max(deadline - time.monotonic(), 0.001)
            try:
                handle.start(seconds, warm_up=asking.manner.warm_up, unless=step.attempt.unwanted)
            except PyMongoError as error:
                if not (lifecycle.may_open_degraded(asking) and is_unreachable(error)):
                    raise
                pool._opened_without_server(handle, error)
            replaced = lifecycle.publish(step.attempt, asking, handle)
        pool._opened(handle, replaced)
    except Exception as error:
        seconds = time.monotonic() - began
        failure = explain_failure(lifecycle.name, error, asking.settings, seconds, lifecycle.settings())
        if step.attempt.unwanted.done():
            failure = PoolClosingError.of(lifecycle.name)
    else:
        return handle, cast("PyMongoSyncHandle | None", replaced)
    finally:
        lifecycle.settle(step.attempt, failure)
    try:
        raise failure from None
    finally:
        # The failure's traceback refers to this frame: only the garbage collector would free the two.
        del failure


@contextmanager
def _closed_if_it_fails(handle: PyMongoSyncHandle, deadline: float) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    except BaseException:
        closing = handle.finish(drain=0, timeout=1)
        with suppress(Exception):
            closing.result(time_to_close(deadline - began, deadline))
        raise


def _find_out(lifecycle: Lifecycle, asking: Asking, deadline: float) -> None:
    """Ask the user's callable before anything is opened."""
    try:
        asking.found(_called(lifecycle.name, asking, deadline))
    except Exception as error:
        failure = explain_failure(lifecycle.name, error, None, known=lifecycle.settings())
    else:
        return
    try:
        raise failure from None
    finally:
        # As below.
        del failure


def _called(name: str, asking: Asking, deadline: float) -> ClientSettings:
    """Ask the user's callable for the connection, within a bound."""
    # Its own repr may show what it holds, such as that of a partial or of a dataclass.
    call: Secret[Any] = Secret(asking.request.connection)
    seconds = max(deadline - time.monotonic(), 0.001)
    asked: Future[Any] = in_daemon_thread(f"{name}-connection", lambda: call.reveal()())
    wait((asked,), seconds)
    if not asked.done():
        raise PoolStartTimeoutError.after(name, seconds, "waiting for the connection callable")
    answer = asked.result()
    if inspect.iscoroutine(answer):
        answer.close()
        raise PoolConfigurationError(
            f"{name} is synchronous: its connection callable must not be a coroutine function."
        )
    answered = asking.request._replace(connection=answer)
    # They may hold a password, which a traceback with local variables would show.
    del answer, asked
    return answered.settings()


def _tell_user(handle: PyMongoSyncHandle, replaced: PyMongoSyncHandle) -> None:
    callback = handle.settings.pool_options.on_replace
    if callback is None:
        return
    try:
        callback(replaced.client, handle.client)
    except Exception as error:
        told = for_log(error, handle.settings, replaced.settings)
        logger.error("%s: on_replace failed; the pool goes on with its new client", handle.pool, exc_info=told)
