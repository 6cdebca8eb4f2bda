"""What a pool tells about itself: the dictionary that ``get_pool_stats`` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import WaitQueueTimeoutError

if TYPE_CHECKING:
    from .backends.handle import ClientHandle

__all__ = ["LOOK_SHARE", "NOT_INITIALIZED", "STATS_BOUND", "look_error", "pool_stats"]

STATS_BOUND = 2.0
"""Seconds after which ``get_pool_stats`` answers in any case."""

LOOK_SHARE = 0.9
"""The part of that bound that the ping may use."""

NOT_INITIALIZED = {"status": "not_initialized"}


def look_error(error: Exception, handle: ClientHandle) -> str | None:
    """What a failed ping says of the pool, without secrets; None when it only found no free connection."""
    if isinstance(error, WaitQueueTimeoutError):
        return None
    return handle.settings.redactor.scrub(str(error) or "the ping was not answered in time")


def pool_stats(handle: ClientHandle, replacements: int, *, error: str | None = None) -> dict[str, Any]:
    """The statistics of an open pool.

    Args:
        handle: The open client's handle.
        replacements: How often a client of this pool was replaced.
        error: What the ping failed with, without secrets; None when the pool is well.

    Returns:
        ``status`` ("connected" or "error"), ``connection_string`` (masked), ``server_version`` (None until a
        server told it), ``pool_config`` (the options in force, masked), ``backend``, ``replacements``,
        ``saturated`` (some server has every connection in use), and on error ``error``.
    """
    stats: dict[str, Any] = {
        "status": "connected" if error is None else "error",
        "connection_string": handle.settings.masked_uri,
        "server_version": handle.server_version,
        "pool_config": handle.settings.pool_config,
        "backend": handle.backend,
        "replacements": replacements,
        "saturated": handle.saturated(),
    }
    if error is not None:
        stats["error"] = error
    return stats
