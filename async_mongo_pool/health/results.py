"""What a probe answers: typed, frozen, and plain for JSON with ``as_dict``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Liveness", "Readiness", "Require", "ServerHealth", "State"]

State: TypeAlias = Literal["starting", "ready", "degraded", "down", "closing"]
Require: TypeAlias = Literal["any", "primary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """Whether this process should go on living: nothing here depends on a database.

    Attributes:
        live: False only when the event loop that the pool's client is bound to has ended, and whoever asks runs in
            no other one.
        reason: Why, in one sentence.
        pool: The pool's name.
        status: "open", "opening", "closing" or "not_initialized".
        event_loop: "running", "stopped" or "closed": the loop that the client is bound to; None for clients
            that serve every loop and thread, and without a client.
    """

    live: bool
    reason: str
    pool: str
    status: Literal["open", "opening", "closing", "not_initialized"]
    event_loop: Literal["running", "stopped", "closed"] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHealth:
    """One server as the driver's heartbeats see it.

    Attributes:
        kind: The driver's word: "Standalone", "RSPrimary", "RSSecondary", "Mongos", "Unknown" and so on.
        error: What its last heartbeat or operation failed with, without secrets; None when it is well.
    """

    kind: str
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the pool can serve.

    Attributes:
        state: "starting" (not yet ready since it was opened), "ready", "degraded" (it serves, and every connection
            to some server is in use), "down", "closing".
        ready: Whether to send work here: true in the states "ready" and "degraded".
        live: As in ``Liveness``.
        reason: Why, in one sentence without secrets.
        pool: The pool's name.
        require: What was asked for: "any" server that can be read, or one that takes writes ("primary").
        response_seconds: How long the last ping that was answered took, a wait for a connection included;
            None when there was none.
        age_seconds: How long ago this was found out.
        primary: Whether a server that takes writes is known.
        servers: Each server that the driver watches, by its address.
        saturated: Whether every connection to some server is in use; the server is then not pinged.
    """

    state: State
    live: bool
    reason: str
    pool: str
    require: Require
    ready: bool = False
    response_seconds: float | None = None
    age_seconds: float = 0.0
    primary: bool = False
    servers: Mapping[str, ServerHealth] = field(default_factory=dict)
    saturated: bool = False

    def aged(self, seconds: float) -> Readiness:
        """The same answer, told later.

        Args:
            seconds: How long ago it was found out.
        """
        return replace(self, age_seconds=max(seconds, 0.0))

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)
