"""How many workers may be hot at once: pure arithmetic over what was measured.

Threads of one interpreter take turns. Operations that the server answers within a fraction of a millisecond
keep it busy with three or four of them; more only quarrel over whose turn it is. Operations that wait for the
server leave it idle, and then every one that waits should be started at once. What tells the two apart is the
processor time of this process: operations wait while it has time to spare, so more are started, quickly; it
has none to spare, so the number shrinks, slowly, because a burst also takes all of it for a moment.
"""

from __future__ import annotations

__all__ = ["FEWEST", "PERIOD", "STALLED_AFTER", "Throttle"]

FEWEST = 4
"""Workers that may be hot in any case."""
SOME = 12
"""Workers that may be hot while operations end all the time and the process has a little time to spare."""
PERIOD = 0.001
"""Seconds between two looks, at least."""
STALLED_AFTER = 0.01
"""Seconds after which a running operation surely waits for the server and does not count as hot."""

_MUCH_TIME_TO_SPARE = 0.5
_TIME_TO_SPARE = 0.7
_NO_TIME_TO_SPARE = 0.9
_SHRINKING = 0.995
_GROWTH = 8
# Looks in a row: a single one may only mean that this process had to wait for a processor itself.
_SURELY_STILL = 3
_SURELY_IDLE = 5


class Throttle:
    """The number of workers that may be hot, and the look that adapts it."""

    __slots__ = ("_busy", "_completed", "_idle", "_looked", "_still", "allowed", "stalled")

    def __init__(self) -> None:
        self.allowed: float = FEWEST
        self.stalled = 0
        """Running operations that do not count."""
        self._looked = 0.0
        self._busy = 0.0
        self._completed = 0
        self._still = 0
        self._idle = 0

    def is_time(self, now: float) -> bool:
        """Whether the last look is long enough ago."""
        return now - self._looked >= PERIOD

    def look(self, now: float, busy: float, completed: int, most: int, *, waiting: bool) -> None:
        """Adapt.

        Args:
            now: Seconds, by a monotonic clock.
            busy: Seconds of processor time that this process has used so far.
            completed: Operations that ended so far.
            most: How many workers there may be at all.
            waiting: Whether operations wait that could be started.
        """
        seconds = now - self._looked
        share = (busy - self._busy) / seconds
        ended = completed - self._completed
        self._looked, self._busy, self._completed = now, busy, completed
        self._still = self._still + 1 if waiting and not ended else 0
        self._idle = self._idle + 1 if waiting and share < _MUCH_TIME_TO_SPARE else 0
        if waiting and share < _TIME_TO_SPARE:
            if self._still >= _SURELY_STILL:
                self.allowed = min(self.allowed * _GROWTH, most)
            elif ended and self.allowed < SOME:
                self.allowed = min(self.allowed * 1.5, SOME)
            elif self._idle >= _SURELY_IDLE:
                self.allowed = min(self.allowed * 1.5, most)
        if share > _NO_TIME_TO_SPARE:
            self.allowed *= _SHRINKING
        if self.allowed < FEWEST:
            self.allowed = FEWEST
