"""What a pool tells about itself: the dictionary that ``get_pool_stats`` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pymongo.errors import WaitQueueTimeoutError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .backends.handle import ClientHandle
    from .stats import PoolSnapshot

__all__ = [
    "LOOK_SHARE",
    "NOT_INITIALIZED",
    "STATS_BOUND",
    "STATUS_COMMAND",
    "Findings",
    "no_server_connections",
    "pool_stats",
    "server_connections",
]

STATS_BOUND = 2.0
"""Seconds after which ``get_pool_stats`` answers in any case."""

LOOK_SHARE = 0.9
"""The part of that bound that the ping may use."""

STATUS_COMMAND = {
    "serverStatus": 1,
    **dict.fromkeys(("metrics", "wiredTiger", "repl", "locks", "opLatencies", "tcmalloc", "transactions"), 0),
}
"""serverStatus without its expensive sections."""

_LIVE = (
    "replacements",
    "saturated",
    "servers",
    "totals",
    "executor",
    "commands",
    "retries",
    "drift",
    "broken_laws",
)

NOT_INITIALIZED = {"status": "not_initialized"}


class Findings(NamedTuple):
    """What looking at the server brought.

    Attributes:
        error: What the ping failed with, without secrets; None when the pool is well.
        server: ``server_connections`` of the statistics; None when they were not asked for.
    """

    error: str | None = None
    server: dict[str, Any] | None = None

    @classmethod
    def from_heartbeats(cls, *, server: bool) -> Findings:
        """For a full pool, which is not asked: a ping would only wait for a connection."""
        return cls(None, no_server_connections("every connection is in use") if server else None)

    @classmethod
    def of_failure(cls, error: Exception, handle: ClientHandle, *, server: bool) -> Findings:
        """For a look that failed; that it found no free connection says nothing about the server."""
        text = handle.settings.redactor.scrub(str(error) or "the server did not answer in time")
        return cls(
            None if isinstance(error, WaitQueueTimeoutError) else text,
            no_server_connections(text) if server else None,
        )


def pool_stats(handle: ClientHandle, snapshot: PoolSnapshot, findings: Findings) -> dict[str, Any]:
    """The statistics of an open pool.

    Args:
        handle: The open client's handle.
        snapshot: The live part.
        findings: What looking at the server brought.

    Returns:
        ``status`` ("connected" or "error"), ``connection_string`` (masked), ``server_version`` (None until a
        server told it), ``pool_config`` (the options in force, masked), ``backend``, ``pool`` (its name),
        ``uptime_seconds``; what ``PoolSnapshot`` documents: ``replacements``, ``saturated``, ``servers``,
        ``totals``, ``executor``, ``commands``, ``retries``, ``drift``, ``broken_laws``; on error ``error``; and
        if the server was asked ``server_connections``: ``current``, ``available``, ``total_created`` of its
        serverStatus, and ``error`` saying why they are None, or None.
    """
    live = snapshot.as_dict()
    stats: dict[str, Any] = {
        "status": "connected" if findings.error is None else "error",
        "connection_string": handle.settings.masked_uri,
        "server_version": handle.server_version,
        "pool_config": handle.settings.pool_config,
        "backend": handle.backend,
        "pool": snapshot.pool,
        "uptime_seconds": snapshot.seconds,
    }
    stats |= {name: live[name] for name in _LIVE}
    if findings.error is not None:
        stats["error"] = findings.error
    if findings.server is not None:
        stats["server_connections"] = findings.server
    return stats


def server_connections(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a serverStatus answer that tells of connections."""
    found = answer.get("connections", {})
    return {
        "current": found.get("current"),
        "available": found.get("available"),
        "total_created": found.get("totalCreated"),
        "error": None,
    }


def no_server_connections(reason: str) -> dict[str, Any]:
    """The same when the server did not tell, and why."""
    return {"current": None, "available": None, "total_created": None, "error": reason}
