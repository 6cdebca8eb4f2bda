"""How long to wait before the next attempt: exponential, with full jitter."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BASE", "CAP", "ceiling", "pause"]

BASE = 0.05
"""Seconds that the first pause lasts at most."""
CAP = 1.0
"""Seconds that any pause lasts at most."""

_DOUBLINGS = 10
"""More of them than it takes to get from BASE to CAP."""


def ceiling(failed: int) -> float:
    """The longest pause after so many failed attempts: 0.05 s, doubling to 1 s.

    Args:
        failed: How many attempts have failed, 1 or more.
    """
    return min(CAP, BASE * 2.0 ** min(failed - 1, _DOUBLINGS))


def pause(failed: int, draw: Callable[[], float] = random.random) -> float:
    """A pause between nothing and the ceiling, evenly distributed.

    What fails together does not come back together: that is what the jitter is for, and the full range spreads
    best.

    Args:
        failed: How many attempts have failed, 1 or more.
        draw: A number from 0 up to, and without, 1.
    """
    return draw() * ceiling(failed)
