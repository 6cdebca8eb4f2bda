"""Who runs next, and on how many workers: every decision of the admission, without threads, loops or locks.

Its owner calls it under one lock. A worker is here whatever has an attribute ``operation``.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Protocol

from async_mongo_pool.distribution import BOUNDS, Recorder
from async_mongo_pool.stats import REFUSALS

from .calls import NEW, STREAMS
from .line import WaitingLine
from .throttle import STALLED_AFTER, Throttle
from .transactions import OpenTransactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from .operation import Operation

__all__ = ["Schedule", "Serves"]


class Serves(Protocol):
    """What the schedule asks of a worker."""

    operation: Operation | None
    """What it runs; None while it is idle."""
    began: float
    """When it began that, by ``time.monotonic()``."""


class Schedule:
    """The line, the workers by what they do, and the counts.

    Args:
        new_worker: Makes a worker that does not run yet; called under the owner's lock.
        connections: The connections that one server has for this client; None: as many as workers.
        max_waiting: The most operations that may wait; None is no limit.
    """

    def __init__(
        self,
        new_worker: Callable[[], Serves],
        connections: int | None = None,
        max_waiting: int | None = None,
    ) -> None:
        self._new_worker = new_worker
        self.line: WaitingLine[Operation] = WaitingLine()
        self.throttle = Throttle()
        self.transactions = OpenTransactions()
        self.limit = 0
        """The most workers there may be now."""
        self.workers = 0
        self.parked: list[Serves] = []
        """Idle workers; the last one in is the first one out, so that the others cost nothing."""
        self.at_work: set[Serves] = set()
        self.running_new = 0
        self.streaming = 0
        self.completed = 0
        self.abandoned = 0
        self.refused = dict.fromkeys(REFUSALS, 0)
        self.wait = Recorder()
        self.refusing = False
        self.stopped = False
        self._connections = connections
        self._max_waiting = max_waiting

    def admit(self, operation: Operation) -> str | None:
        """Put an operation into the line.

        Returns:
            None, or why it is refused: one of ``REFUSALS``.
        """
        reason = None
        if self.stopped or (self.refusing and operation.kind in (NEW, STREAMS)):
            reason = "closing"
        elif self._max_waiting is not None and not operation.ahead and self._is_full(self._max_waiting):
            reason = "full"
        if reason is None:
            self.line.add(operation)
        else:
            self.refused[reason] += 1
        return reason

    def start(self, now: float, *, all_hot: bool = False) -> tuple[list[Serves], list[Serves]]:
        """Give operations to workers, as many as may run.

        Args:
            now: By ``time.monotonic()``.
            all_hot: Every worker may be hot, whatever the throttle allows.

        Returns:
            The idle workers that have got an operation, and new ones that have to be set going.
        """
        woken: list[Serves] = []
        fresh: list[Serves] = []
        while self.line.waiting and (self.parked or self.workers < self.limit):
            if not all_hot and self.busy - self.streaming - self.throttle.stalled >= self.throttle.allowed:
                break
            operation = self.line.take(new_work=self.running_new < self.most_new_work())
            if operation is None:
                break
            if operation.queued and operation.is_abandoned():
                operation.forget()
                self.abandoned += 1
                continue
            self._count_start(operation, now)
            try:
                # Not asked before: a signal handler may come in between, and take the last one.
                worker = self.parked.pop()
                woken.append(worker)
            except IndexError:
                self.workers += 1
                worker = self._new_worker()
                fresh.append(worker)
            worker.operation = operation
            worker.began = now
            self.at_work.add(worker)
        return woken, fresh

    def finish(self, worker: Serves) -> None:
        """A worker has run its operation and is idle."""
        self.completed += 1
        self._count_end(worker)
        self.parked.append(worker)

    def take_back(self, worker: Serves, now: float) -> None:
        """A new worker could not be set going: its operation waits again, at the head of its class."""
        self.workers -= 1
        operation = worker.operation
        self._count_end(worker)
        if operation is not None:
            operation.submitted = operation.submitted if operation.queued else now
            operation.queued = True
            self.line.put_back(operation)

    def dismiss(self, worker: Serves) -> None:
        """An idle worker ends."""
        self.parked.remove(worker)
        self.workers -= 1

    def dismiss_all(self) -> list[Serves]:
        """All idle workers end."""
        idle, self.parked = self.parked, []
        self.workers -= len(idle)
        return idle

    def leave(self, operation: Operation, reason: str | None = None) -> bool:
        """Take an operation out of the line; False when it does not wait any more.

        Args:
            operation: Which one.
            reason: One of ``REFUSALS``; None when nobody waits for it any more.
        """
        if not self.line.leave(operation):
            return False
        if reason is None:
            self.abandoned += 1
        else:
            self.refused[reason] += 1
        return True

    def most_new_work(self) -> int:
        """How many workers new work may hold: a transaction's commit must find a connection."""
        if not self.transactions.any_open():
            return self.limit
        return max(min(self.limit, self._connections or self.limit) - 1, 1)

    def held_back(self) -> bool:
        """Whether operations wait only because there are enough hot workers."""
        if not self.line.waiting or not (self.parked or self.workers < self.limit):
            return False
        kept = self.line.kept_by_session()
        if self.line.waiting_ahead > kept:
            return True
        return self.line.waiting > kept and self.running_new < self.most_new_work()

    def held_by_streams(self) -> bool:
        """Whether operations wait and change streams hold every worker that new work may have."""
        return self.streaming > 0 and self.line.waiting > 0 and self.streaming >= self.most_new_work()

    def look(self, now: float, busy: float) -> None:
        """Adapt the number of hot workers; ``busy`` is the processor time of the process, in seconds."""
        held_back = self.held_back()
        self.throttle.look(now, busy, self.completed, self.limit, waiting=held_back)
        old = now - STALLED_AFTER
        self.throttle.stalled = (
            sum(worker.began < old and not _streams(worker) for worker in self.at_work) if held_back else 0
        )

    def in_progress(self) -> int:
        """The operations that wait or run."""
        return self.line.waiting + self.busy

    @property
    def busy(self) -> int:
        """Workers that run an operation, those just being made included."""
        return self.workers - len(self.parked)

    def numbers(self) -> dict[str, Any]:
        """The state, by the names of ``ExecutorStats``."""
        return {
            "workers": self.workers,
            "max_workers": max(self.limit, self.workers),
            "busy": self.busy,
            "streaming": self.streaming,
            "queued": self.line.waiting,
            "abandoned": self.abandoned,
            "refused": dict(self.refused),
            "wait": self.wait.distribution(),
        }

    def _is_full(self, max_waiting: int) -> bool:
        # What is only held back for a moment, with a worker to be had, does not count as waiting.
        free = max(min(self.limit - self.busy, self.most_new_work() - self.running_new), 0)
        return self.line.waiting >= free + max_waiting

    def _count_start(self, operation: Operation, now: float) -> None:
        self.running_new += not operation.ahead
        self.streaming += operation.streaming
        if operation.session is not None:
            self.line.at_work.add(operation.session)
        wait = self.wait
        if operation.queued:
            seconds = now - operation.submitted
            wait.buckets[bisect_left(BOUNDS, seconds)] += 1
            wait.seconds += seconds
            if seconds > wait.longest:
                wait.longest = seconds
        else:
            wait.buckets[0] += 1

    def _count_end(self, worker: Serves) -> None:
        operation, worker.operation = worker.operation, None
        self.at_work.discard(worker)
        if operation is not None:
            self.running_new -= not operation.ahead
            self.streaming -= operation.streaming
            if operation.session is not None:
                self.line.at_work.discard(operation.session)


def _streams(worker: Serves) -> bool:
    return worker.operation is not None and worker.operation.streaming
