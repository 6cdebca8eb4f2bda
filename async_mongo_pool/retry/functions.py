"""The functions that are handed to ``run`` and ``retrying``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_function", "check_result", "without_client"]

_DRIVERS = frozenset({"motor", "pymongo", "gridfs"})

F = TypeVar("F", bound="Callable[..., Any]")


def check_function(function: object) -> None:
    """Refuse what was called already, the commonest slip.

    Raises:
        TypeError: It is not callable.
    """
    if callable(function):
        return
    if inspect.iscoroutine(function):
        function.close()
    raise TypeError(
        f"a function that takes the client is needed here, not {type(function).__name__}: "
        "write `lambda client: ...` or hand over the function itself, without calling it"
    )


def check_result(result: object) -> None:
    """Refuse what does its work later, past every deadline and retry: a cursor not asked yet, a generator.

    Raises:
        TypeError: It is one.
    """
    kind = type(result)
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError("run() was given a generator, which does its work later: return what it yields as a list")
    if kind.__module__.partition(".")[0] not in _DRIVERS or not (
        hasattr(kind, "rewind") or "Latent" in kind.__name__
    ):
        return
    if not getattr(getattr(result, "delegate", result), "retrieved", 0):
        raise TypeError(
            f"run() was given {kind.__name__}, which sends its first request later: read it in the function, "
            "with `cursor.to_list(...)` or a loop, and return the documents"
        )


def without_client(wrapper: F, function: Callable[..., Any]) -> F:
    """Let the wrapper's signature show what its callers pass: frameworks read it.

    Args:
        wrapper: What callers call.
        function: What it wraps; it takes the client first.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some callables of C do not tell.
        return wrapper
    wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=list(signature.parameters.values())[1:]
    )
    return wrapper
