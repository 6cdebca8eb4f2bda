"""The thread that logs for the observers of one client.

A listener runs while its operation holds a connection, and a log handler may write to this very database: logging
there would wait for the connection that it holds. So a listener hands over what is to be said and goes on.
"""

from __future__ import annotations

import logging
import threading
import weakref
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING

from async_mongo_pool.forks import StartsAfresh

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LAST_WORDS", "QUEUE_LIMIT", "LogThread", "say_everything"]

logger = logging.getLogger("async_mongo_pool")

QUEUE_LIMIT = 1000
"""Messages that wait for slow log handlers at most; more are dropped, counted, and the count is logged."""

LAST_WORDS = 2.0
"""Seconds after ``stop`` from which on whatever still waits is dropped."""

EXIT_BUDGET = 0.5
"""Seconds that an exiting process waits for its log threads, over all of them."""

_AFTER_A_FAILED_LOOK = 1.0


class LogThread(StartsAfresh):
    """A daemon thread that starts with the first message and sleeps while there is none.

    Args:
        pool: The pool's name, for the thread's name and for messages.
        look: Called between two messages and whenever the time is up that it returned, in seconds; None lets the
            thread sleep until it is woken. What it raises is logged, once for each class of exception, and it is
            called again. Default: there is nothing to look at.
    """

    def __init__(self, pool: str, look: Callable[[], float | None] = lambda: None) -> None:
        super().__init__()
        self._pool = pool
        self._look = look
        self._failures: set[type[Exception]] = set()
        self._begin()

    def _begin(self) -> None:
        # SimpleQueue, because a signal handler or the garbage collector may put while this thread puts or gets.
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._give_up_at = 0.0
        self._dropped = 0
        self._saying = False

    def _after_fork_in_child(self) -> None:
        """Say nothing more: the client is the parent's."""
        self._begin()
        self._stopped = True

    def hand_over(self, call: Callable[[], None]) -> None:
        """Let the thread call this; dropped when too many wait.

        Args:
            call: Logs something. What it raises is dropped.
        """
        if threading.current_thread() is self._thread:
            # A handler that writes to this database would otherwise report on its own slow writes for ever.
            if not self._saying:
                self._say(call)
            return
        if self._stopped:
            return
        if self._calls.qsize() >= QUEUE_LIMIT:
            with self._lock:
                self._dropped += 1
            return
        self._calls.put(call)
        if self._thread is None:
            self._start()

    def wake(self) -> None:
        """Let the thread look now."""
        if self._stopped:
            return
        self._calls.put(None)
        if self._thread is None:
            self._start()

    def stop(self) -> None:
        """Let the thread end once it has said what was handed over before, within seconds; never waits."""
        self._give_up_at = monotonic() + LAST_WORDS
        with self._lock:
            self._stopped = True
        self._calls.put(None)

    def end(self, seconds: float) -> None:
        """Stop, and wait for the thread; half of the time is for messages, the rest to say how many were dropped.

        Args:
            seconds: How long to wait at most.
        """
        deadline = monotonic() + seconds
        self.stop()
        self._give_up_at = deadline - seconds / 2
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(deadline - monotonic(), 0))

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._stopped:
                return
            self._thread = threading.Thread(target=self._run, name=f"{self._pool}-log", daemon=True)
            try:
                self._thread.start()
                _started.add(self)
            except RuntimeError:
                # The interpreter shuts down, or the system has no more threads: the next message tries again.
                self._thread = None

    def _run(self) -> None:
        calls = self._calls
        while True:
            pause = self._try_to_look()
            call = None
            # Asked before the wait: what was handed over before `stop` is already in the queue then.
            stopped = self._stopped
            with suppress(Empty):
                call = calls.get_nowait() if stopped else calls.get(timeout=pause)
            if call is not None:
                self._say(call)
            if stopped and self._is_done():
                return
            self._tell_dropped()

    def _try_to_look(self) -> float | None:
        try:
            return self._look()
        except Exception as error:
            if type(error) not in self._failures:
                self._failures.add(type(error))
                self._say(partial(logger.warning, "%s: the watch failed", self._pool, exc_info=error))
            return _AFTER_A_FAILED_LOOK

    def _is_done(self) -> bool:
        if monotonic() > self._give_up_at:
            left = self._left()
            with self._lock:
                self._dropped += left
            self._tell_dropped()
            return True
        return self._calls.empty()

    def _left(self) -> int:
        """Empty the queue and count the messages in it; what only woke the thread is none."""
        left = 0
        with suppress(Empty):
            while True:
                left += self._calls.get_nowait() is not None
        return left

    def _say(self, call: Callable[[], None]) -> None:
        self._saying = True
        # The handlers are the user's: one that raises must not end the thread.
        with suppress(Exception):
            call()
        self._saying = False

    def _tell_dropped(self) -> None:
        if not self._dropped:
            return
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        self._say(
            lambda: logger.warning(
                "%s: %d messages were dropped because the log handlers are slower than they came",
                self._pool,
                dropped,
            )
        )


_started: weakref.WeakSet[LogThread] = weakref.WeakSet()


def say_everything() -> None:
    """At exit: let what was handed over be said, within ``EXIT_BUDGET``; daemon threads die with the process."""
    deadline = monotonic() + EXIT_BUDGET
    for each in list(_started):
        each.end(max(deadline - monotonic(), 0))
