"""How a server is called in statistics, logs and metrics."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["Address", "address_text"]

Address = tuple[str, int | None]
"""Host and port as the driver's events give them; the path of a socket has no port."""


# Asked for by several listeners at every event: a look into the cache takes a third of the formatting.
@lru_cache(maxsize=1024)
def address_text(address: Address) -> str:
    """Write an address as "host:port", "[v6]:port" or the path of a socket.

    Args:
        address: What the driver's events carry as ``address``, ``server_address`` or ``connection_id``.
    """
    host, port = address
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
