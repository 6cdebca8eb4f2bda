"""Raising errors without the frames that hold secrets."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, TypeVar

from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["forget_locals", "guarded"]

_Result = TypeVar("_Result")


def guarded(build: Callable[[], _Result]) -> _Result:
    """Call ``build``; raise its configuration error anew.

    The new error has neither the inner frames, whose local variables hold raw connection strings (tools render
    them with the traceback), nor the driver's exception as its context.
    """
    try:
        return build()
    except PoolConfigurationError as error:
        kind, text = type(error), str(error)
    except BaseException as error:
        # Ctrl-C, no memory, a mistake of ours: where it happened is worth knowing.
        forget_locals(error)
        raise
    raise kind(text)


def forget_locals(error: BaseException) -> None:
    """Empty the frames of an error, and of what it was caused by: file, line and function stay.

    Frames that are still running keep their variables.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            traceback.clear_frames(each.__traceback__)
            pending += [each.__cause__, each.__context__]
