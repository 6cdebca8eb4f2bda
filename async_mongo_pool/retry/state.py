"""What all calls of one pool share: the budget and the counts. It belongs to the pool, not to its client."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .budget import RetryBudget
from .counts import RetryRecorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.lifecycle import Lifecycle

    from .counts import RetryStats

__all__ = ["RetryState", "state_of"]


class RetryState:
    """The budget and the counts of one pool.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.budget = RetryBudget(clock)
        self.recorder = RetryRecorder()

    def stats(self) -> RetryStats:
        """Everything at one moment."""
        return self.recorder.stats(self.budget.tokens())


_states: WeakKeyDictionary[Lifecycle, RetryState] = WeakKeyDictionary()
_making = threading.RLock()


def state_of(lifecycle: Lifecycle) -> RetryState:
    """The state of a pool, made when it is first asked for."""
    state = _states.get(lifecycle)
    if state is None:
        with _making:
            state = _states.setdefault(lifecycle, RetryState())
    return state


def _after_fork_in_child() -> None:
    # Zero, and new locks: another thread of the parent may have held the old ones at the fork.
    global _states, _making
    _states, _making = WeakKeyDictionary(), threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
