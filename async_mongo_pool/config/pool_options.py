"""The options that are ours and not the driver's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from async_mongo_pool.config.identity import Same
from async_mongo_pool.config.options import Checked, describe
from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PoolOptions", "check_pool_option"]

_ALLOWED = {
    "max_threads": "a whole number greater than 0",
    "retire_after": "a number of seconds greater than 0",
    "retire_limit": "a number of seconds greater than 0, not below retire_after",
    "on_replace": "a callable that takes the old and the new client",
}


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the pool runs around the client.

    Attributes:
        max_threads: The most worker threads of a Motor pool.
        retire_after: How long a replaced client lives at least, in seconds.
        retire_limit: How long a replaced client lives at most, in seconds.
        on_replace: Called with the old and the new client after a replacement, or None.

    Raises:
        PoolConfigurationError: A value is of the wrong type or out of range.
    """

    max_threads: int = 512
    retire_after: float = 30.0
    retire_limit: float = 300.0
    on_replace: Callable[[Any, Any], Any] | None = None

    def __post_init__(self) -> None:
        for name in ("max_threads", "retire_after", "retire_limit"):
            check_pool_option(name, getattr(self, name), "argument")
        if self.on_replace is not None:
            check_pool_option("on_replace", self.on_replace, "argument")
        if self.retire_after > self.retire_limit:
            raise PoolConfigurationError.contradiction("retire_after must not be above retire_limit")


def check_pool_option(name: str, value: Any, source: str) -> Checked:
    """Validate one of the pool's own options.

    Args:
        name: As in ``PoolOptions``.
        value: What the user gave; numbers also as text (environment).
        source: Where it was given, for the error.

    Raises:
        PoolConfigurationError: The value is not allowed.
    """
    if name == "on_replace":
        if callable(value):
            return Checked(value, Same(value))
    elif (number := _number(value, whole=name == "max_threads")) is not None and number > 0:
        return Checked(number, number)
    raise PoolConfigurationError.bad_value(name, describe(value), source, _ALLOWED[name])


def _number(value: Any, *, whole: bool) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int) if whole else (str, int, float)):
        return None
    try:
        number = int(value) if whole else float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 2**63 else None
