"""The options that are ours and not the driver's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from async_mongo_pool.config.identity import Same
from async_mongo_pool.config.options import Checked, describe
from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PoolOptions", "check_pool_option"]

_SWITCHES = frozenset({"slow_checkout_stack", "command_stats", "heartbeat_stats"})
_WHOLE = frozenset({"max_threads", "max_waiting"})
_LEAST = {"max_waiting": 0}
_MORE_THAN_ZERO = math.ulp(0.0)

_ALLOWED = {
    "max_threads": "a whole number greater than 0",
    "max_waiting": "a whole number, 0 or more",
    "slow_checkout_ms": "a number of milliseconds greater than 0",
    "slow_checkout_stack": "true or false",
    "command_stats": "true or false",
    "slow_command_ms": "a number of milliseconds greater than 0",
    "heartbeat_stats": "true or false",
    "retire_after": "a number of seconds greater than 0",
    "retire_limit": "a number of seconds greater than 0, not below retire_after",
    "on_replace": "a callable that takes the old and the new client",
}


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the pool runs around the client.

    Attributes:
        max_threads: The most worker threads of a Motor pool.
        max_waiting: The most operations that may wait for a worker of a Motor pool; None is no limit.
        slow_checkout_ms: Log and count connections held for longer, in milliseconds; None never looks.
        slow_checkout_stack: Whether that log also shows where the connection was checked out.
        command_stats: Whether to count and time each command.
        slow_command_ms: Log commands that took longer, in milliseconds; None logs none.
        heartbeat_stats: Whether to time heartbeats.
        retire_after: How long a replaced client lives at least, in seconds.
        retire_limit: How long a replaced client lives at most, in seconds.
        on_replace: Called with the old and the new client after a replacement, or None. The call that replaces
            waits for it, beyond its own bound.

    Raises:
        PoolConfigurationError: A value is of the wrong type or out of range.
    """

    max_threads: int = 512
    max_waiting: int | None = None
    slow_checkout_ms: float | None = None
    slow_checkout_stack: bool = False
    command_stats: bool = False
    slow_command_ms: float | None = None
    heartbeat_stats: bool = False
    retire_after: float = 30.0
    retire_limit: float = 300.0
    on_replace: Callable[[Any, Any], Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for each in fields(self):
            if (value := getattr(self, each.name)) is not None:
                check_pool_option(each.name, value, "argument")
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
    elif name in _SWITCHES:
        if (switch := _switch(value)) is not None:
            return Checked(switch, switch)
    elif (number := _number(name, value)) is not None and number >= _LEAST.get(name, _MORE_THAN_ZERO):
        return Checked(number, number)
    raise PoolConfigurationError.bad_value(name, describe(value), source, _ALLOWED[name])


def _switch(value: Any) -> bool | None:
    # As text it comes from the environment, where the driver's own switches are written the same way.
    return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())


def _number(name: str, value: Any) -> int | float | None:
    whole = name in _WHOLE
    if isinstance(value, bool) or not isinstance(value, (str, int) if whole else (str, int, float)):
        return None
    try:
        number = int(value) if whole else float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 2**63 else None
