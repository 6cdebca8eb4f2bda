"""How the time of one call is shared out, so that it keeps its bound; pure.

A call returns within its bound and a tenth more, 0.2 s for short ones, whatever the servers and the driver do. The
driver gets a little less than the caller, so that its own error, which tells most, comes in time.
"""

from __future__ import annotations

import time

__all__ = ["close_grace", "margin", "time_to_close"]

_SHARE = 0.08
_MOST = 0.25
_LEAST_TO_CLOSE = 0.2
_CLOSING = 1.0


def margin(timeout: float) -> float:
    """Seconds by which the driver's deadline lies before the caller's.

    Args:
        timeout: The caller's bound in seconds.
    """
    return min(timeout * _SHARE, _MOST)


def time_to_close(timeout: float, deadline: float) -> float:
    """Seconds for which a start that failed waits until its client is closed.

    Args:
        timeout: What the start had in seconds.
        deadline: When its time is up, by ``time.monotonic()``.
    """
    left = deadline + close_grace(timeout) - time.monotonic()
    return min(max(left, 0.0), _CLOSING)


def close_grace(timeout: float) -> float:
    """Seconds that a closing may overrun the time it has before its callers stop waiting for it.

    Args:
        timeout: Its timeout in seconds; 0 is allowed, and a closing takes its moment even then.
    """
    return max(margin(timeout), _LEAST_TO_CLOSE)
