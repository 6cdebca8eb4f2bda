"""Driver calls that outlive their caller's cancellation, for AsyncMongoClient.

A cancelled AsyncMongoClient throws its connection away, and leaves a cursor open on the server where the answer
was under way. A call that is let finish keeps both in order.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .counts import RetryRecorder

__all__ = ["ABANDONED_LIMIT", "shielded"]

T = TypeVar("T")

ABANDONED_LIMIT = 30.0
"""Seconds that an abandoned call may go on where no deadline bounds it."""

_GRACE = 0.25
"""Seconds that a driver call may overrun its own deadline."""

_abandoned: dict[asyncio.Task[Any], RetryRecorder] = {}
"""The loop itself keeps only weak references to its tasks."""


async def shielded(
    call: Callable[[], Coroutine[Any, Any, T]], recorder: RetryRecorder, left: Callable[[], float | None]
) -> T:
    """Run ``call`` in a task of its own, which a cancelled caller leaves behind.

    Args:
        call: Makes the coroutine.
        recorder: Counts the abandoned.
        left: Seconds that remain of the deadline; None when there is none.
    """
    caller = asyncio.current_task()
    # Who holds a connection is told by the name of its task.
    task = asyncio.create_task(call(), name=caller.get_name() if caller is not None else None)
    try:
        await asyncio.wait({task})
        return task.result()
    except asyncio.CancelledError:
        if not task.done():
            _abandon(task, recorder, left())
        raise
    finally:
        # An error's traceback refers to this frame: only the garbage collector would free the two.
        del task


def _abandon(task: asyncio.Task[Any], recorder: RetryRecorder, left: float | None) -> None:
    for dead in [each for each in list(_abandoned) if each.get_loop().is_closed()]:
        # Closed without cancelling its tasks: this one will never report its end.
        _abandoned.pop(dead).abandoned_ended()
    recorder.abandoned()
    _abandoned[task] = recorder
    bound = ABANDONED_LIMIT if left is None else max(left, 0.0) + _GRACE
    limit = asyncio.get_running_loop().call_later(bound, task.cancel)

    def ended(task: asyncio.Task[Any]) -> None:
        limit.cancel()
        _abandoned.pop(task, None)
        recorder.abandoned_ended()
        if not task.cancelled():
            # Mark a failure as seen: nobody waits for it.
            task.exception()

    task.add_done_callback(ended)
