"""One thread that calls back when a time limit ends, for all limits of the process."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from async_mongo_pool.forks import StartsAfresh

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Alarm", "alarm"]

PERIOD = 0.3
"""Seconds between two looks at most; after one without any limit the thread ends."""


class Alarm(StartsAfresh):
    """Calls back at a time, unless it is told not to.

    Most limits are taken back long before they end, so that has to be cheap: it wakes nobody.
    """

    def __init__(self) -> None:
        super().__init__()
        self._after_fork_in_child()

    def _after_fork_in_child(self) -> None:
        """Begin afresh: the thread stayed in the parent."""
        # With a re-entrant lock, because a signal handler may run an operation while this thread sets one.
        self._changed = threading.Condition()
        self._limits: dict[object, tuple[float, Callable[[], object]]] = {}
        self._wakes_at = 0.0
        self._thread: threading.Thread | None = None

    def set(self, due: float, call: Callable[[], object]) -> object:
        """Call ``call`` on the alarm's thread at a time; it must not wait.

        Args:
            due: By ``time.monotonic()``.
            call: What it raises is dropped.

        Returns:
            What ``stop`` takes.
        """
        key = object()
        with self._changed:
            self._limits[key] = (due, call)
            if self._thread is None:
                self._start()
            elif due < self._wakes_at:
                self._changed.notify()
        return key

    def stop(self, key: object) -> None:
        """Take back what was set; nothing happens when it has been called."""
        with self._changed:
            self._limits.pop(key, None)

    def _start(self) -> None:
        thread = threading.Thread(target=self._watch, name="async_mongo_pool-alarm", daemon=True)
        # At the end of the interpreter no thread starts any more; the driver's own clock goes on.
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _watch(self) -> None:
        idle = False
        while True:
            with self._changed:
                due = self._take_due()
                if not due:
                    if idle and not self._limits:
                        self._thread = None
                        return
                    idle = self._wait()
            for call in due:
                with suppress(Exception):
                    call()

    def _take_due(self) -> list[Callable[[], object]]:
        now = time.monotonic()
        keys = [key for key, (due, _) in self._limits.items() if due <= now]
        return [self._limits.pop(key)[1] for key in keys]

    def _wait(self) -> bool:
        """Wait for the earliest limit, or for an earlier one, at most a period; whether there was none."""
        now = time.monotonic()
        self._wakes_at = min((due for due, _ in self._limits.values()), default=now + PERIOD)
        self._wakes_at = min(self._wakes_at, now + PERIOD)
        idle = not self._limits
        self._changed.wait(self._wakes_at - now)
        return idle


alarm = Alarm()
"""The process's."""
