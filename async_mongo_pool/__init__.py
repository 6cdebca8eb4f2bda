"""The MongoDB connection pool for asyncio services, and its synchronous twin.

The names below are imported when they are first used: pytest loads a plugin of this package in every run of
everybody who has it installed, and must not pay for the drivers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from async_mongo_pool._version import __version__

if TYPE_CHECKING:
    from async_mongo_pool.async_pool import AsyncMongoDBConnectionPool
    from async_mongo_pool.config import ClientSettings, OptionInForce, PoolConfig
    from async_mongo_pool.errors import (
        PoolClosingError,
        PoolConfigurationConflict,
        PoolConfigurationError,
        PoolError,
        PoolExhaustedError,
        PoolLoopError,
        PoolNotInitializedError,
        PoolStartTimeoutError,
    )
    from async_mongo_pool.health import (
        AsyncHealthMonitor,
        HealthMonitor,
        Liveness,
        Readiness,
        ServerHealth,
    )
    from async_mongo_pool.retry_stats import RetryStats
    from async_mongo_pool.stats import PoolSnapshot
    from async_mongo_pool.sync_pool import MongoDBConnectionPool

__all__ = [
    "AsyncHealthMonitor",
    "AsyncMongoDBConnectionPool",
    "ClientSettings",
    "HealthMonitor",
    "Liveness",
    "MongoDBConnectionPool",
    "OptionInForce",
    "PoolClosingError",
    "PoolConfig",
    "PoolConfigurationConflict",
    "PoolConfigurationError",
    "PoolError",
    "PoolExhaustedError",
    "PoolLoopError",
    "PoolNotInitializedError",
    "PoolSnapshot",
    "PoolStartTimeoutError",
    "Readiness",
    "RetryStats",
    "ServerHealth",
    "__version__",
]

_MODULES = {
    "AsyncMongoDBConnectionPool": "async_pool",
    "ClientSettings": "config",
    "MongoDBConnectionPool": "sync_pool",
    "OptionInForce": "config",
    "PoolConfig": "config",
    "PoolSnapshot": "stats",
    "RetryStats": "retry_stats",
    "AsyncHealthMonitor": "health",
    "HealthMonitor": "health",
    "Liveness": "health",
    "Readiness": "health",
    "ServerHealth": "health",
} | {name: "errors" for name in __all__ if name.endswith(("Error", "Conflict"))}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
