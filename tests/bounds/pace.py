"""What the machine takes for itself: a bound can then be tested on one that has other things to do as well."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Pace"]

TICK = 0.01
PUNCTUAL = 0.002


class Pace:
    """A context manager: a thread that only sleeps, and notes by how much it is woken too late.

    That is the time for which a thread that is due does not run: because other processes have the processors, or
    other threads the interpreter. A call that only waits for a server does not disturb it.
    """

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._over = False
        self._thread = threading.Thread(target=self._tick, name="pace", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join(10)

    def lost(self, began: float, ended: float) -> float:
        """Seconds lost between two moments of ``time.monotonic()``; ask when the pace has gone on for a tick.

        Twice what was noted: who waits for a call is woken by a thread that was woken late itself.
        """
        return 2 * sum(late for at, late in list(self._late) if at + TICK + late > began and at < ended)

    def _tick(self) -> None:
        while not self._over:
            at = time.monotonic()
            time.sleep(TICK)
            late = time.monotonic() - at - TICK
            if late > PUNCTUAL:
                self._late.append((at, late))
