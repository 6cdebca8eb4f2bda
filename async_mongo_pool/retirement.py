"""When a client that was replaced may go: pure arithmetic."""

from __future__ import annotations

__all__ = ["next_look"]

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 15.0


def next_look(elapsed: float, looks: int, after: float, limit: float) -> float | None:
    """How long to wait before the next look at a retired client.

    The first look is at ``after``; the pauses then double, because each look asks the garbage collector.

    Args:
        elapsed: Seconds since the client was replaced.
        looks: How many looks there were.
        after: Seconds that the client lives in any case.
        limit: Seconds after which it is closed in any case.

    Returns:
        Seconds to wait, or None when the client is to be closed now.
    """
    if elapsed >= limit:
        return None
    if elapsed < after:
        return min(after, limit) - elapsed
    return float(min(_FIRST_PAUSE * 2**looks, _LONGEST_PAUSE, limit - elapsed))
