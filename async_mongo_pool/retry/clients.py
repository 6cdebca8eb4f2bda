"""The client that an attempt is made with: asked for anew each time, because it may have been replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from async_mongo_pool.errors import PoolClosingError, PoolLoopError, PoolNotInitializedError
from async_mongo_pool.loops import describe, running_loop

if TYPE_CHECKING:
    from async_mongo_pool.backends.handle import ClientHandle
    from async_mongo_pool.lifecycle import Lifecycle

    from .course import Course

__all__ = ["Current", "current_client"]


class Current(NamedTuple):
    """The open client."""

    client: Any
    handle: ClientHandle


def current_client(lifecycle: Lifecycle, opens_with: str, course: Course) -> Current:
    """The open client of a pool.

    Args:
        lifecycle: The pool's.
        opens_with: The call that opens it, for the error.
        course: The call that needs it.

    Raises:
        PoolNotInitializedError: The pool is not open.
        PoolClosingError: The pool is closing.
        PoolLoopError: The client is bound to another event loop that is still running.
        Exception: The pool was closed since an attempt failed with this.
    """
    opened, here = lifecycle.opened, running_loop()
    if opened is None or lifecycle.client_for(here) is None:
        if (failed := course.pool_is_closed()) is not None:
            raise failed
        if lifecycle.closing:
            raise PoolClosingError.of(lifecycle.name)
        raise PoolNotInitializedError.of(lifecycle.name, opens_with.format(lifecycle.name))
    if opened.loop is not None and opened.loop is not here:
        raise PoolLoopError.elsewhere(lifecycle.name, describe(opened.loop), describe(here))
    return Current(opened.client, opened.handle)
