"""Raising errors without the frames that hold secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["guarded"]

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
    raise kind(text)
