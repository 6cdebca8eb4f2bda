"""What a caller asks of ``run``, checked."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    OnGiveUp: TypeAlias = Callable[[Exception, int, float], object]

__all__ = ["ATTEMPTS", "Terms", "checked_seconds"]

ATTEMPTS = 4
"""How often a function is called at most, the first time included."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The arguments of ``run`` and ``retrying``, which document them.

    Raises:
        PoolConfigurationError: One of them cannot be used.
    """

    idempotent: bool = False
    deadline: float | None = None
    attempts: int = ATTEMPTS
    on_give_up: OnGiveUp | None = None

    def __post_init__(self) -> None:
        _check_flag("idempotent", self.idempotent)
        if self.deadline is not None:
            checked_seconds("deadline", self.deadline)
        _check_count("attempts", self.attempts)
        if self.on_give_up is not None and not callable(self.on_give_up):
            raise _refused("on_give_up", self.on_give_up, "a callable, or None")

    def without_await(self) -> Terms:
        """The same, for the twin that cannot await.

        Raises:
            PoolConfigurationError: ``on_give_up`` is a coroutine function.
        """
        if inspect.iscoroutinefunction(self.on_give_up):
            raise _refused("on_give_up", self.on_give_up, "a plain function: nothing awaits it here")
        return self


def checked_seconds(name: str, value: Any) -> float:
    """A time limit in seconds.

    Raises:
        PoolConfigurationError: It is not a finite number above 0. (The driver takes 0 for "no limit".)
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < float("inf"):
        raise _refused(name, value, "seconds, more than 0")
    return float(value)


def _check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise _refused(name, value, "True or False")


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _refused(name, value, "a whole number, 1 or more")


def _refused(name: str, value: object, allowed: str) -> PoolConfigurationError:
    # A number, or the kind of thing that was given: nothing of its content.
    shown = repr(value) if isinstance(value, (int, float)) or value is None else type(value).__name__
    return PoolConfigurationError.bad_value(name, shown, "argument", allowed)
