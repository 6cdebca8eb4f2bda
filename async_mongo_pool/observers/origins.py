"""Who took a connection: the task or the thread, and where in its code it was.

With Motor the thread that takes a connection says nothing to a user. Motor copies the context of the task that
calls and runs the operation inside the copy, so the task's origin travels in a context variable.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["Origin", "current_task", "submitted_origin", "tell_worker"]

_MOST_FRAMES = 16

_NOT_THE_USERS = frozenset({"pymongo", "motor", "async_mongo_pool", "asyncio", "concurrent", "threading"})
"""Packages whose frames say nothing about who asked."""

_submitted: ContextVar[Origin | None] = ContextVar("async_mongo_pool_submitted", default=None)


class Origin:
    """Where a connection was asked for; keeps neither the task nor its frames alive.

    Args:
        owner: The task or thread; None for a callback of the event loop, which is neither.
        stack: Whether to note where its code is now.

    Attributes:
        kind: "task", "thread" or "callback".
        name: Of the task or thread.
    """

    __slots__ = ("_frames", "_owner", "kind", "name")

    def __init__(self, owner: asyncio.Task[Any] | threading.Thread | None, *, stack: bool) -> None:
        self._owner: weakref.ref[Any] | None
        if owner is None:
            self.kind, self.name, self._owner = "callback", "a callback of the event loop", None
        elif isinstance(owner, threading.Thread):
            self.kind, self.name, self._owner = "thread", owner.name, weakref.ref(owner)
        else:
            self.kind, self.name, self._owner = "task", owner.get_name(), weakref.ref(owner)
        self._frames = _users_frames(sys._getframe(1)) if stack else None

    def __str__(self) -> str:
        return self.name if self._owner is None else f'{self.kind} "{self.name}"'

    def has_ended(self) -> bool:
        """Whether the task or thread is over."""
        if self._owner is None:
            return False
        owner = self._owner()
        if isinstance(owner, threading.Thread):
            return not owner.is_alive()
        return owner is None or owner.done()

    def stack(self) -> str | None:
        """The user's frames, innermost last; None when they were not asked for, or there are none.

        Without source lines, which may hold values that do not belong into a log.
        """
        if not self._frames:
            return None
        lines = [f'  File "{code.co_filename}", line {line}, in {code.co_qualname}' for code, line in self._frames]
        return "\n".join(reversed(lines))


def _users_frames(frame: FrameType | None) -> tuple[tuple[CodeType, int], ...]:
    found: list[tuple[CodeType, int]] = []
    while frame is not None and len(found) < _MOST_FRAMES:
        module: str = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _NOT_THE_USERS:
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


def current_task() -> asyncio.Task[Any] | None:
    """The task that runs in this thread; None in a callback, and where no event loop runs."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def tell_worker(call: Any, *, stack: bool) -> None:
    """Note in the context of a Motor operation which task submits it.

    Args:
        call: What Motor hands to ``run_in_executor``: ``partial(context.run, method, owner, *arguments)``;
            anything else is left alone.
        stack: Whether to note where the task's code is.
    """
    context = getattr(getattr(call, "func", None), "__self__", None)
    if not isinstance(context, Context):
        return
    task = current_task()
    if task is not None:
        origin = Origin(task, stack=stack)
        # Motor asks for the further batches of `to_list` in callbacks, which run in copies of this context.
        _submitted.set(origin)
    else:
        origin = _submitted.get() or Origin(None, stack=stack)
    # Raising here would let Motor's `to_list` and `aggregate` hang for ever.
    with suppress(RuntimeError):
        context.run(_submitted.set, origin)


def submitted_origin() -> Origin | None:
    """In a worker of Motor: who submitted the operation that it runs; None when nobody noted it."""
    return _submitted.get()
