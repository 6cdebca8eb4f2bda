"""What all calls of one pool share: the budget and the counts. It belongs to the pool, not to its client."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from async_mongo_pool.forks import StartsAfresh

from .budget import RetryBudget
from .counts import RetryRecorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.lifecycle import Lifecycle
    from async_mongo_pool.retry_stats import RetryStats

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


class _States(StartsAfresh):
    """The states of all pools."""

    def __init__(self) -> None:
        super().__init__()
        self._after_fork_in_child()

    def _after_fork_in_child(self) -> None:
        """Count from zero, with new locks."""
        self.known: WeakKeyDictionary[Lifecycle, RetryState] = WeakKeyDictionary()
        self.making = threading.RLock()


_states = _States()


def state_of(lifecycle: Lifecycle) -> RetryState:
    """The state of a pool, made when it is first asked for."""
    state = _states.known.get(lifecycle)
    if state is None:
        with _states.making:
            state = _states.known.setdefault(lifecycle, RetryState())
    return state
