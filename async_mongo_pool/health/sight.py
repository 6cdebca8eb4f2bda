"""What the driver's heartbeats tell about the servers: read from memory, no I/O and no lock of the driver."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from async_mongo_pool.addresses import address_text

from .results import ServerHealth

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.backends.handle import ClientHandle
    from async_mongo_pool.stats import ServerStats

    from .results import Require

__all__ = ["Sight", "one_line", "see"]

logger = logging.getLogger("async_mongo_pool")

_LONGEST_TEXT = 300


@dataclass(frozen=True, slots=True)
class Sight:
    """The servers at one moment.

    Attributes:
        servers: Each by its address.
        primary: Whether a server that takes writes is known.
        readable: Whether a server that can be read is known.
        heard_at: When the newest answer of a server as required came, by ``time.monotonic``; 0.0 without any.
        saturated: Whether every connection to some server is in use, by others than the prober's own ping.
        full: Whether that is so of each server that a ping could go to: it would only wait.
    """

    servers: dict[str, ServerHealth]
    primary: bool = False
    readable: bool = False
    heard_at: float = 0.0
    saturated: bool = False
    full: bool = False

    def suits(self, require: Require) -> bool:
        """Whether a server as required is known.

        Args:
            require: "any" or "primary".
        """
        return self.primary if require == "primary" else self.readable

    def lack(self, require: Require) -> str:
        """What is missing, and what the servers failed with."""
        missing = "no server that takes writes is known" if require == "primary" else "no server can be reached"
        errors = [f"{address}: {server.error}" for address, server in self.servers.items() if server.error]
        return f"{missing} ({'; '.join(errors)})" if errors else missing


def see(handle: ClientHandle, require: Require, pinging: bool) -> Sight:
    """Read what the driver knows now; never raises.

    Args:
        handle: The client's; any thread may ask.
        require: "any" or "primary".
        pinging: Whether the prober's own ping is under way.
    """
    try:
        return _see(handle, require, pinging)
    except Exception:
        # The description is the driver's: whatever becomes of it in a client that closes, a probe answers.
        logger.debug("%s: the driver did not tell of its servers", handle.pool, exc_info=True)
        return Sight({})


def one_line(text: str, scrub: Callable[[str], str]) -> str:
    """A driver's message as a part of a sentence, without secrets."""
    line = " ".join(scrub(text).split())
    return line if len(line) <= _LONGEST_TEXT else f"{line[:_LONGEST_TEXT]}..."


def _see(handle: ClientHandle, require: Require, pinging: bool) -> Sight:
    scrub = handle.settings.redactor.scrub
    known = handle.driver_client.topology_description.server_descriptions()
    readable = [server for server in known.values() if server.is_readable]
    writable = [server for server in readable if server.is_writable]
    suiting = writable if require == "primary" else readable
    full = {address for address, each in handle.snapshot().servers.items() if _is_full(each, pinging)}
    return Sight(
        servers={
            address_text(address): ServerHealth(
                kind=server.server_type_name,
                error=one_line(str(server.error), scrub) if server.error is not None else None,
            )
            for address, server in known.items()
        },
        primary=bool(writable),
        readable=bool(readable),
        heard_at=max((server.last_update_time for server in suiting), default=0.0),
        saturated=bool(full),
        # A ping goes to a primary where there is one.
        full=bool(suiting) and full.issuperset(address_text(each.address) for each in writable or suiting),
    )


def _is_full(server: ServerStats, pinging: bool) -> bool:
    """Whether nobody gets a connection before somebody else gives one back."""
    if server.max_size is None or server.state == "closed" or server.size - server.connecting < server.max_size:
        # Where connections may still be made, who waits does so for the server.
        return False
    # One of those in use may be the ping's own.
    return server.pending_requests > 0 or (server.used >= server.max_size and not pinging)
