"""How the asynchronous pool opens a client: one attempt at a time, over all event loops and threads."""

from __future__ import annotations

import asyncio
import inspect
import time
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from pymongo.errors import PyMongoError

from .bounds import time_to_close
from .config import Secret
from .daemon import in_daemon_thread, retrieve, wait_in_loop
from .diagnosis import explain_failure, for_log, is_unreachable
from .errors import PoolClosingError, PoolStartTimeoutError
from .key_file import refuse_a_locked_key
from .lifecycle import JOIN_GRACE, Lead, Reuse
from .loops import is_being_cancelled
from .pool_base import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from .asking import Asking, Manner, Request
    from .backends.handle import AsyncClientHandle
    from .calls import Call
    from .config import ClientSettings
    from .lifecycle import Attempt, Lifecycle
    from .patience import Patience
    from .pool_base import PoolBase

__all__ = ["open_handle", "open_patiently"]

_MODULES = {"motor": "motor", "pymongo": "pymongo_async"}


async def open_handle(
    pool: type[PoolBase],
    request: Request,
    manner: Manner,
    call: Call,
) -> AsyncClientHandle:
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
        await _find_out(lifecycle, asking, deadline)
    here = asyncio.get_running_loop()
    lock = lifecycle.locks.of(here)
    await _within(deadline, lock.acquire(), lifecycle.name, seconds)
    try:
        while True:
            step = lifecycle.claim(asking, arrival, deadline, call)
            if isinstance(step, Reuse):
                return cast("AsyncClientHandle", step.handle)
            if isinstance(step, Lead):
                handle, replaced = await _lead(pool, asking, step, deadline)
                break
            await _within(deadline, wait_in_loop(step.attempt.done), lifecycle.name, seconds)
    finally:
        lock.release()
    if replaced is not None:
        await _tell_user(handle, replaced)
    return handle


async def open_patiently(
    pool: type[PoolBase],
    request: Request,
    manner: Manner,
    patience: Patience,
    ticket: object | None = None,
) -> AsyncClientHandle:
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
    with pool._lifecycle.calling(asyncio.get_running_loop(), ticket) as call:
        while True:
            try:
                return await open_handle(pool, request, manner._replace(degraded=patience.gives_in()), call)
            except PyMongoError as error:
                pause = patience.pause(error)
                if pause is None:
                    raise
                logger.info("%s: trying again in %.2f s: %s", name, pause, error)
            with suppress(TimeoutError):
                await wait_in_loop(call.closed, pause)
            if call.closed.done():
                raise PoolClosingError.of(name)


async def _within(deadline: float, waiting: Coroutine[Any, Any, Any], name: str, seconds: float) -> None:
    """Wait for another caller's attempt, which may report how it ended a little after its own deadline."""
    try:
        async with asyncio.timeout(max(deadline - time.monotonic(), 0) + JOIN_GRACE):
            await waiting
    except TimeoutError:
        raise PoolStartTimeoutError.after(name, seconds, "waiting for another initialize") from None


async def _lead(
    pool: type[PoolBase], asking: Asking, step: Lead, deadline: float
) -> tuple[AsyncClientHandle, AsyncClientHandle | None]:
    lifecycle = pool._lifecycle
    failure: Exception | None = None
    began = time.monotonic()
    try:
        for dead in step.dead:
            pool._finish_dead(dead)
        settings = asking.settings
        if settings is None:
            settings = await _called(lifecycle.name, asking, deadline)
            alike = lifecycle.opened_alike(asking, settings)
            if alike is not None:
                return cast("AsyncClientHandle", alike), None
            asking.found(settings)
        handle = step.attempt.handle = _create(pool, asking.backend, settings)
        async with _closed_if_it_fails(handle, deadline):
            try:
                start = handle.start(max(deadline - time.monotonic(), 0.001), warm_up=asking.manner.warm_up)
                await _unless_closed(start, step.attempt, lifecycle.name)
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
        return handle, cast("AsyncClientHandle | None", replaced)
    finally:
        lifecycle.settle(step.attempt, failure)
    try:
        raise failure from None
    finally:
        # The failure's traceback refers to this frame: only the garbage collector would free the two.
        del failure


async def _unless_closed(start: Coroutine[Any, Any, None], attempt: Attempt, name: str) -> None:
    """Wait for a start, but no longer than the pool is wanted."""
    starting = asyncio.ensure_future(start)
    starting.add_done_callback(retrieve)
    closed = asyncio.wrap_future(attempt.unwanted)
    try:
        await asyncio.wait({starting, closed}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            raise PoolClosingError.of(name)
        starting.result()
    finally:
        starting.cancel()
        closed.cancel()


def _create(pool: type[PoolBase], backend: str, settings: ClientSettings) -> AsyncClientHandle:
    refuse_a_locked_key(settings)
    # Imported when first used, so that nobody pays for a driver that is not asked for.
    module = import_module(f".backends.{_MODULES[backend]}", __package__)
    handle: AsyncClientHandle = module.create(pool._lifecycle.name, settings)
    handle.when_finished = pool._closed
    return handle


@asynccontextmanager
async def _closed_if_it_fails(handle: AsyncClientHandle, deadline: float) -> AsyncIterator[None]:
    began = time.monotonic()
    try:
        yield
    except BaseException as error:
        closing = handle.finish(drain=0, timeout=1)
        if isinstance(error, Exception):
            # A failed start leaves nothing behind when it returns; a cancelled one may not wait.
            with suppress(Exception):
                await wait_in_loop(closing, time_to_close(deadline - began, deadline))
        raise


async def _find_out(lifecycle: Lifecycle, asking: Asking, deadline: float) -> None:
    """Ask the user's callable before anything is opened."""
    try:
        asking.found(await _called(lifecycle.name, asking, deadline))
    except Exception as error:
        failure = explain_failure(lifecycle.name, error, None, known=lifecycle.settings())
    else:
        return
    try:
        raise failure from None
    finally:
        # As below.
        del failure


async def _called(name: str, asking: Asking, deadline: float) -> ClientSettings:
    """Ask the user's callable for the connection; a synchronous one may block, so it gets a thread."""
    # Its own repr may show what it holds, such as that of a partial or of a dataclass.
    call: Secret[Any] = Secret(asking.request.connection)
    seconds = max(deadline - time.monotonic(), 0.001)
    asked: Any = None
    try:
        async with asyncio.timeout(seconds) as bound:
            if inspect.iscoroutinefunction(call.reveal()):
                answer = await call.reveal()()
            else:
                asked = in_daemon_thread(f"{name}-connection", lambda: call.reveal()())
                answer = await wait_in_loop(asked)
                if inspect.isawaitable(answer):
                    answer = await answer
    except TimeoutError:
        if not bound.expired():
            # The callable's own.
            raise
        raise PoolStartTimeoutError.after(name, seconds, "waiting for the connection callable") from None
    answered = asking.request._replace(connection=answer)
    # It may hold a password, which a traceback with local variables would show.
    del answer, asked
    return answered.settings()


async def _tell_user(handle: AsyncClientHandle, replaced: AsyncClientHandle) -> None:
    callback = handle.settings.pool_options.on_replace
    if callback is None:
        return
    try:
        outcome = callback(replaced.client, handle.client)
        if inspect.isawaitable(outcome):
            await outcome
    except (Exception, asyncio.CancelledError) as error:
        if is_being_cancelled():
            raise
        told = for_log(error, handle.settings, replaced.settings)
        logger.error("%s: on_replace failed; the pool goes on with its new client", handle.pool, exc_info=told)
