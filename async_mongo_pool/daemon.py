"""Blocking calls on daemon threads.

anyio's and ``concurrent.futures``' workers are joined at interpreter exit, so one call against a frozen server
keeps the whole process alive. A daemon thread does not, and its future can be awaited from any event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_daemon_thread", "result_of", "retrieve", "wait_in_loop"]

T = TypeVar("T")


def in_daemon_thread(name: str, call: Callable[[], T]) -> Future[T]:
    """Start ``call`` on a new daemon thread, in a copy of the caller's context.

    Args:
        name: The thread's name, seen in debuggers and stack dumps.
        call: A callable without arguments; it may block.

    Returns:
        A future that is running from the start: cancelling a waiter never cancels the call.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    arguments = (future, contextvars.copy_context(), call)
    threading.Thread(target=_run, args=arguments, name=name, daemon=True).start()
    return future


def _run(future: Future[T], context: contextvars.Context, call: Callable[[], T]) -> None:
    try:
        future.set_result(context.run(call))
    except StopIteration as stop:
        # A future refuses StopIteration; the standard executor converts it the same way.
        future.set_exception(RuntimeError(f"the call raised StopIteration: {stop}"))
    except BaseException as error:
        future.set_exception(error)
    finally:
        # An error's traceback refers to this frame: only the garbage collector would free the two.
        del future, call


async def wait_in_loop(future: Future[T], timeout: float | None = None) -> T:
    """Wait in the running event loop for a future that some thread or loop completes.

    Args:
        future: The future of ``in_daemon_thread`` or of another loop.
        timeout: Seconds; None waits for as long as the call takes: the caller then has a bound of its own.

    Raises:
        TimeoutError: It was not done in time. The call itself goes on.
        RuntimeError: It was running in another event loop, which has ended.
    """
    waiter = asyncio.wrap_future(future)
    waiter.add_done_callback(retrieve)
    done, _ = await asyncio.wait({waiter}, timeout=timeout)
    if not done:
        raise TimeoutError
    if waiter.cancelled():
        # Somebody else's cancellation: it must not look like one of this task.
        raise RuntimeError("the event loop that ran this has ended")
    return waiter.result()


def retrieve(waiter: asyncio.Future[T]) -> None:
    """Mark a late failure as seen: whoever gave up waiting must not cause a "never retrieved" message."""
    if not waiter.cancelled():
        waiter.exception()


def result_of(value: T) -> Future[T]:
    """A future that is done already."""
    future: Future[T] = Future()
    future.set_result(value)
    return future
