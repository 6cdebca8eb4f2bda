"""What belongs to one event loop: the results on their way to it, and its timers.

Many results go back with one wake-up of the loop, and one timer serves all who wait.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from .line import Deadlines

if TYPE_CHECKING:
    import asyncio

    from .operation import Operation

__all__ = ["Mailbox", "Office"]

logger = logging.getLogger("async_mongo_pool")

_LOOK_AFTER = 0.001
_BATCH = 8
_EARLY = 0.001


class Office(Protocol):
    """What a mailbox asks of the admission; each in the thread of the mailbox's loop."""

    def expire(self, operations: list[Operation], now: float) -> None:
        """Refuse those of them that still wait."""

    def withdraw(self, operation: Operation) -> None:
        """Take an operation out of the line: nobody waits for it."""

    def review(self, now: float) -> bool:
        """Start what may be started by now; whether somebody has to look again soon."""


class Mailbox:
    """The results for one loop and the times at which it has to look after those who wait.

    Args:
        loop: The loop; all methods but ``post`` belong to its thread.
        office: The admission.
    """

    __slots__ = (
        "_box",
        "_deadlines",
        "_looking",
        "_office",
        "_timer",
        "_timer_due",
        "_woken",
        "loop",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, office: Office) -> None:
        self.loop = loop
        self._office = office
        self._box: deque[Operation] = deque()
        self._woken = False
        self._deadlines: Deadlines[Operation] = Deadlines()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._looking = False

    def post(self, operation: Operation, waiting: int = 0) -> bool:
        """Send a finished operation home; from any thread.

        Args:
            operation: Which one.
            waiting: How many operations wait: while there are plenty, the loop is spared to make new ones, and
                woken for several results together. The next look takes them home in any case.

        Returns:
            Whether the loop will hear of it; not when it is closed.
        """
        box = self._box
        box.append(operation)
        # Appended first and looked at second, while the loop does it the other way round: whatever the order in
        # which two threads get here, one of them finds the operation in the box.
        if self._woken or (self._looking and len(box) <= _BATCH and 2 * len(box) <= waiting):
            if not self.loop.is_closed():
                return True
        else:
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                logger.debug("dropped the result of an operation whose event loop is closed")
            else:
                return True
        # The loop was closed while the operation ran: nobody is left to take the result.
        box.clear()
        return False

    def _deliver(self) -> None:
        self._woken = False
        self._take_home()
        if not self._looking and self._office.review(time.monotonic()):
            self._look_soon()

    def _take_home(self) -> None:
        box = self._box
        # Not `while box`: under a stream of results the loop has to get to its other work.
        for _ in range(len(box)):
            box.popleft().settle()

    def wait_until(self, due: float, operation: Operation) -> None:
        """Refuse an operation at ``due`` (``time.monotonic()``) if it still waits then."""
        self._deadlines.add(due, operation)
        if self._timer is None or due < self._timer_due:
            if self._timer is not None:
                self._timer.cancel()
            self._set_timer(due)

    def watch(self) -> None:
        """Look soon whether those who wait are to be served by more workers."""
        if not self._looking:
            self._look_soon()

    def ask_to_watch(self) -> None:
        """The same from any thread; nothing happens when the loop is closed."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.watch)

    def cancelled(self, operation: Operation) -> None:
        """Nobody waits for an operation any more."""
        self._office.withdraw(operation)

    def _set_timer(self, due: float) -> None:
        self._timer_due = due
        self._timer = self.loop.call_later(max(due - time.monotonic(), 0), self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = time.monotonic()
        # A little early for some, so that a storm is refused in few batches.
        if expired := self._deadlines.expired(now + _EARLY):
            self._office.expire(expired, now)
        if (due := self._deadlines.next_due()) is not None:
            self._set_timer(due)

    def _look_soon(self) -> None:
        self._looking = True
        self.loop.call_later(_LOOK_AFTER, self._look)

    def _look(self) -> None:
        self._looking = False
        if self._box:
            self._take_home()
        if self._office.review(time.monotonic()):
            self._look_soon()
