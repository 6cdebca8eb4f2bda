"""Where options come from: the library's defaults, the presets and the environment."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from async_mongo_pool.config.options import check, describe, is_known, key_of
from async_mongo_pool.config.pool_options import check_pool_option
from async_mongo_pool.config.vocabulary import ENVIRONMENT_OPTIONS, POOL_OPTIONS
from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

__all__ = ["DEFAULTS", "PRESETS", "Rank", "Setting", "from_defaults", "from_environment", "from_preset", "setting"]

DEFAULTS: dict[str, Any] = {
    "maxPoolSize": 100,
    "minPoolSize": 10,
    "maxIdleTimeMS": 30000,
    "waitQueueTimeoutMS": 5000,
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 10000,
    "socketTimeoutMS": 30000,
    "retryWrites": True,
    "retryReads": True,
    "max_threads": 512,
    "retire_after": 30.0,
    "retire_limit": 300.0,
}

PRESETS: dict[str, dict[str, Any]] = {
    "development": {"maxPoolSize": 10, "minPoolSize": 1},
    "production": {
        "maxPoolSize": 500,
        "minPoolSize": 50,
        "maxIdleTimeMS": 60000,
        "retryWrites": True,
        "retryReads": True,
        "w": "majority",
        "journal": True,
    },
    "high_concurrency": {
        "maxPoolSize": 1000,
        "minPoolSize": 100,
        "waitQueueTimeoutMS": 10000,
        "serverSelectionTimeoutMS": 10000,
    },
    "serverless": {"maxPoolSize": 10, "minPoolSize": 0, "maxIdleTimeMS": 30000},
    # A silent primary is found out after heartbeat and connect timeout together, 3 s at most; its operations are
    # then broken off, and wait for the next primary instead of failing while it is elected. Measured by
    # `make faults`: within a second of what the servers themselves need. With a connect timeout of 1.5 s an 8 s
    # pause ended in the half second between two attempts to connect in 8 of 9 runs; with 2 s one is under way.
    "fast_failover": {
        "heartbeatFrequencyMS": 1000,
        "connectTimeoutMS": 2000,
        "serverSelectionTimeoutMS": 15000,
        "waitQueueTimeoutMS": 15000,
    },
}


class Rank(enum.IntEnum):
    """The five sources; a higher one wins."""

    DEFAULT = 0
    PRESET = 1
    ENVIRONMENT = 2
    URI = 3
    ARGUMENT = 4


@dataclass(frozen=True, slots=True, repr=False)
class Setting:
    """One option in force.

    Attributes:
        key: The name as it compares.
        value: For the driver.
        normal: The form that compares by meaning.
        rank: Which of the five sources won.
        source: The same in words.
    """

    key: str
    value: Any
    normal: Hashable
    rank: Rank
    source: str

    @property
    def by_user(self) -> bool:
        """Tell whether a person set it, rather than this library."""
        return self.rank >= Rank.ENVIRONMENT


def setting(key: str, value: Any, rank: Rank, source: str, *, quotable: bool = True) -> Setting:
    """Validate a value and say where it came from.

    Raises:
        PoolConfigurationError: The value is not allowed.
    """
    if key in POOL_OPTIONS:
        checked = check_pool_option(POOL_OPTIONS[key], value, source)
    else:
        checked = check(key, value, source, quotable=quotable)
    return Setting(key, checked.for_driver, checked.normal, rank, source)


def from_defaults() -> dict[str, Setting]:
    """Return the library's defaults."""
    return _table(DEFAULTS, Rank.DEFAULT, "default")


def from_preset(name: object) -> dict[str, Setting]:
    """Return the options of a preset.

    Raises:
        PoolConfigurationError: There is no such preset.
    """
    if name is None:
        return {}
    if not isinstance(name, str) or name not in PRESETS:
        raise PoolConfigurationError(f"Unknown preset {describe(name)}: use {', '.join(PRESETS)}.")
    return _table(PRESETS[name], Rank.PRESET, f"preset {name}")


def _table(values: Mapping[str, Any], rank: Rank, source: str) -> dict[str, Setting]:
    settings = (setting(key_of(name), value, rank, source) for name, value in values.items())
    return {each.key: each for each in settings}


def from_environment(environ: Mapping[str, str], prefix: str = "MONGODB_") -> dict[str, Setting]:
    """Read the options that may come from single variables, ``MONGODB_MAX_POOL_SIZE`` and the like.

    Other variables with the prefix belong to other programs. An empty one counts as not set: compose files and
    charts write empty strings for values that were left out.

    Raises:
        PoolConfigurationError: A value is not allowed; it names the variable.
    """
    found: dict[str, Setting] = {}
    for name in ENVIRONMENT_OPTIONS:
        key, variable = key_of(name), prefix + upper_snake(name)
        text = environ.get(variable, "").strip()
        if text and (key in POOL_OPTIONS or is_known(key)):
            value = text.lower() if text.lower() in {"true", "false"} else text
            found[key] = setting(key, value, Rank.ENVIRONMENT, f"environment {variable}")
    return found


def upper_snake(name: str) -> str:
    """Return ``MAX_IDLE_TIME_MS`` for ``maxIdleTimeMS``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
