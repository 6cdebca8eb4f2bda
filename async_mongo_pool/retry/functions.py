"""The functions that are handed to ``run`` and ``retrying``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_function", "without_client"]

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
