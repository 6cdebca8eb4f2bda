"""Motor's way from ``await`` to a thread and back, one for each client."""

from __future__ import annotations

import logging
import threading
import time
from itertools import compress
from typing import TYPE_CHECKING, Any, cast

from pymongo.errors import InvalidOperation

from async_mongo_pool.errors import PoolClosingError, PoolExhaustedError, PoolLoopError
from async_mongo_pool.forks import StartsAfresh
from async_mongo_pool.loops import running_loop
from async_mongo_pool.stats import ExecutorStats, PoolSnapshot, TotalStats

from .calls import FETCHES, NEW, UNSTARTED, labels_of, read_call
from .limits import WaitLimits
from .line import WAITING
from .mailbox import Mailbox
from .operation import Operation
from .schedule import Schedule
from .worker import Worker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from .schedule import Serves

__all__ = ["MotorAdmission"]

logger = logging.getLogger("async_mongo_pool")

_LIMIT_HOLDS = 0.05
"""Seconds for which the number of workers is not asked for again."""
_SNAPSHOT_HOLDS = 0.002
"""Seconds for which refusals that follow each other share one snapshot."""
_UNSTARTED = "This cursor has nothing to give: its first request failed or still runs. Make a new cursor."


class MotorAdmission(StartsAfresh):
    """A waiting line and the daemon workers that serve it.

    Args:
        pool: The name of the pool, for errors and thread names.
        limit: Tells how many workers there may be now: connections per server times data-bearing servers.
        connections: The connections per server. While a transaction is open, new work may hold one fewer, so
            that its commit finds one; with a single connection nothing can be kept free. Default: the limit.
        limits: How long operations may wait. Default: for ever.
        max_waiting: The most operations that may wait; None (default) is no limit.
        queue_waits: Filled, for the thread that runs an operation, with the seconds which that operation waited.
        on_submit: Called with each call, in the task that submits it.
        snapshot: The state of the whole pool, for refusals. Default: the admission's own part of it.
        passes: Whether new work of the task that submits it passes while the pool drains, because it belongs to
            something that is waited for. Default: none does.

    Attributes:
        pool: The name of the pool.
        queue_waits: As given.
    """

    def __init__(
        self,
        pool: str,
        limit: Callable[[], int],
        *,
        connections: int | None = None,
        limits: WaitLimits | None = None,
        max_waiting: int | None = None,
        queue_waits: dict[int, float] | None = None,
        on_submit: Callable[[Callable[[], Any]], None] | None = None,
        snapshot: Callable[[], PoolSnapshot] | None = None,
        passes: Callable[[], bool] = lambda: False,
    ) -> None:
        self.pool = pool
        self.queue_waits = queue_waits
        self._limit = limit
        self._connections = connections
        self._limits = limits or WaitLimits()
        self._max_waiting = max_waiting
        self._on_submit = on_submit
        self._snapshot = snapshot
        self._passes = passes
        self._streams_told = False
        super().__init__()
        self._after_fork_in_child()

    def _after_fork_in_child(self) -> None:
        """Begin with nothing: none of the parent's locks, threads and loops exists."""
        # Re-entrant: a signal handler, or whatever the garbage collector runs, may come here while this thread
        # holds it.
        self._lock = threading.RLock()
        self._schedule = Schedule(self._new_worker, self._connections, self._max_waiting)
        self._mailboxes: dict[asyncio.AbstractEventLoop, Mailbox] = {}
        self._limit_known_at = float("-inf")
        self._last_snapshot: tuple[float, PoolSnapshot] | None = None
        if self.queue_waits is not None:
            self.queue_waits.clear()

    # What the event loops call.

    def submit(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Queue a call for the workers; must be called from a coroutine.

        Refusals arrive on the future and are never raised here: Motor's ``to_list`` and ``aggregate`` hang for
        ever when the call itself raises or the future is cancelled.

        Args:
            call: The blocking driver call, with its context bound.

        Returns:
            A future of the running loop. It fails with PoolClosingError or PoolExhaustedError when the call is
            refused.

        Raises:
            PoolLoopError: No event loop runs in this thread.
        """
        loop = running_loop()
        if loop is None:
            raise PoolLoopError.no_loop(self.pool)
        if self._on_submit is not None:
            self._on_submit(call)
        kind, session = read_call(call)
        if self._schedule.refusing and kind == NEW and self._passes():
            kind = FETCHES
        operation = Operation(call, self._mailboxes.get(loop) or self._mailbox(loop), kind, session)
        future = cast("asyncio.Future[Any]", operation.future)
        if kind == UNSTARTED:
            future.set_exception(InvalidOperation(_UNSTARTED))
            return future
        schedule = self._schedule
        if not schedule.parked and schedule.busy >= schedule.limit:
            self._refresh_limit()
        now = time.monotonic()
        with self._lock:
            if session is not None:
                schedule.transactions.add(session)
            refusal = schedule.admit(operation)
            woken, fresh = schedule.start(now)
            held_back = operation.state == WAITING and schedule.held_back()
            if operation.state == WAITING:
                operation.queued = True
                operation.submitted = now
        if woken or fresh:
            self._set_going(woken, fresh)
        if refusal is not None:
            self._refuse(operation, refusal)
        elif operation.state == WAITING:
            self._wait(operation, future, now)
            if held_back:
                operation.mailbox.watch()
        return future

    def _wait(self, operation: Operation, future: asyncio.Future[Any], now: float) -> None:
        due, operation.limit, operation.ends = self._limits.due(now)
        future.add_done_callback(operation)
        if due is not None:
            operation.mailbox.wait_until(due, operation)
        self._tell_streams()

    def expire(self, operations: list[Operation], now: float) -> None:
        """Refuse those of the operations that still wait; one snapshot serves all of them.

        Args:
            operations: Of one loop, in whose thread this is called.
            now: By ``time.monotonic()``.
        """
        with self._lock:
            kept = self._schedule.line.let_out_of_turn(operations)
            # Nobody is refused while there is a worker for him: a loop that was blocked could not let more run.
            woken, fresh = self._schedule.start(now, all_hot=True)
        self._set_going(woken, fresh)
        for operation in kept:
            due, _, _ = self._limits.due(now)
            if due is not None:
                operation.mailbox.wait_until(due, operation)
        operations = [each for each in operations if each not in kept]
        # Taken first: they are part of the state that they are told of.
        snapshot = self.take_snapshot()
        labels = [labels_of(each.call, each.session) for each in operations]
        with self._lock:
            left = [self._schedule.leave(each, "timeout") for each in operations]
        for operation, its_labels in compress(zip(operations, labels, strict=True), left):
            error = PoolExhaustedError.waited(snapshot, now - operation.submitted, operation.limit)
            operation.error = error.with_labels(its_labels)
            operation.settle()

    def withdraw(self, operation: Operation) -> None:
        """Take an operation out of the line: nobody waits for it any more."""
        with self._lock:
            self._schedule.leave(operation)

    def review(self, now: float) -> bool:
        """Start what may be started by now.

        Args:
            now: By ``time.monotonic()``.

        Returns:
            Whether operations wait although there is, or may be, a worker for them.
        """
        schedule = self._schedule
        if not schedule.line.waiting and not schedule.throttle.is_time(now):
            return False
        with self._lock:
            if not schedule.throttle.is_time(now):
                return schedule.held_back()
            schedule.look(now, time.process_time())
            woken, fresh = schedule.start(now)
            held_back = schedule.held_back()
        self._set_going(woken, fresh)
        return held_back

    # What the workers call.

    def next_operation(self, worker: Worker, done: Operation) -> Operation | None:
        """Count a worker's operation as done, send it home, and wait for the next one.

        Args:
            worker: Whose.
            done: The operation that it has run.

        Returns:
            The next operation; None ends the worker.
        """
        schedule = self._schedule
        with self._lock:
            # First of all: whoever gets the result finds this worker free.
            schedule.finish(worker)
            woken, fresh = schedule.start(time.monotonic())
            waiting = schedule.line.waiting
            following = worker.operation
            if leaving := following is None and schedule.stopped:
                schedule.dismiss(worker)
        alive = done.mailbox.post(done, waiting)
        # An idle worker must not keep the last result alive.
        del done
        if leaving:
            return None
        if following is not None:
            # The last one in is the first one out: whoever comes to rest is the first to be given something.
            woken.remove(worker)
        if woken or fresh:
            self._set_going(woken, fresh)
        if following is None:
            if waiting and not (alive and len(self._mailboxes) == 1):
                self._ask_for_review()
            worker.gate.acquire()
            following = worker.operation
        return following

    def _ask_for_review(self) -> None:
        """A worker rests although operations wait, of whichever loop: each looks, as any may be stopped."""
        for mailbox in list(self._mailboxes.values()):
            mailbox.ask_to_watch()

    def exhausted(self, call: Callable[[], Any], seconds: float) -> PoolExhaustedError:
        """The pool's own error for the driver's, which ended a wait in the driver's queue.

        Args:
            call: What was called, whose context knows the caller's own limit.
            seconds: Since the operation was submitted.
        """
        return PoolExhaustedError.waited(self.take_snapshot(), seconds, self._limits.in_driver(call))

    # What the pool calls.

    def stats(self) -> ExecutorStats:
        """The state of the workers and of the line, from one moment; cheap, from any thread."""
        self._refresh_limit()
        with self._lock:
            numbers = self._schedule.numbers()
        return ExecutorStats(**numbers)

    def in_progress(self) -> int:
        """The operations that wait or run."""
        with self._lock:
            return self._schedule.in_progress()

    def refuse(self) -> None:
        """Take no new work from now on, except what finishes work already begun."""
        with self._lock:
            self._schedule.refusing = True

    def stop(self) -> None:
        """Refuse whatever still waits and let the workers go once they are idle."""
        with self._lock:
            self._schedule.refusing = self._schedule.stopped = True
            waiting = self._schedule.line.drain()
            self._schedule.refused["closing"] += len(waiting)
            idle = self._schedule.dismiss_all()
        self._post_refusals(waiting, lambda: PoolClosingError.of(self.pool))
        for worker in idle:
            cast("Worker", worker).gate.release()

    def take_snapshot(self) -> PoolSnapshot:
        """The state of the pool; refusals of the same moment share one."""
        now = time.monotonic()
        last = self._last_snapshot
        if last is None or now - last[0] > _SNAPSHOT_HOLDS:
            last = self._last_snapshot = (now, self._ask_snapshot())
        return last[1]

    def _ask_snapshot(self) -> PoolSnapshot:
        if self._snapshot is not None:
            try:
                return self._snapshot()
            except Exception:
                # Whoever is refused must hear of it in any case.
                logger.debug("%s: the snapshot for a refusal failed", self.pool, exc_info=True)
        executor = self.stats()
        return PoolSnapshot(
            pool=self.pool,
            backend="motor",
            status="open",
            totals=TotalStats(waiting=executor.queued),
            executor=executor,
        )

    def _refuse(self, operation: Operation, reason: str) -> None:
        if reason == "full" and self._max_waiting is not None:
            operation.error = PoolExhaustedError.too_many(self.take_snapshot(), self._max_waiting)
        else:
            operation.error = PoolClosingError.of(self.pool)
        operation.settle()

    def _post_refusals(self, operations: Iterable[Operation], error: Callable[[], BaseException]) -> None:
        for operation in operations:
            # One for each, because whoever catches it may add to it.
            operation.error = error()
            operation.mailbox.post(operation)

    def _refresh_limit(self) -> None:
        now = time.monotonic()
        if now - self._limit_known_at < _LIMIT_HOLDS:
            return
        # Outside the lock, because telling the limit may log, and a log handler may use this very pool. Known
        # only afterwards: whoever comes meanwhile must not go by the old one, which is 0 at first.
        self._schedule.limit = self._limit()
        self._limit_known_at = now

    def _new_worker(self) -> Worker:
        return Worker(self, f"{self.pool}-worker-{self._schedule.workers}")

    def _set_going(self, woken: list[Serves], fresh: list[Serves]) -> None:
        for worker in woken:
            cast("Worker", worker).gate.release()
        for worker in fresh:
            try:
                cast("Worker", worker).set_going()
            except RuntimeError as error:
                self._do_without(worker, error)

    def _do_without(self, worker: Serves, error: RuntimeError) -> None:
        """The system gives no more threads: those that there are serve; without any, nobody may wait."""
        with self._lock:
            self._schedule.take_back(worker, time.monotonic())
            workers = self._schedule.workers
            waiting = [] if workers else self._schedule.line.drain()
            self._schedule.limit = max(workers, 1)
            self._limit_known_at = time.monotonic()
            # A worker may have come to rest since the line was looked at last.
            woken, _ = self._schedule.start(time.monotonic()) if workers else ([], [])
        for rested in woken:
            cast("Worker", rested).gate.release()
        self._post_refusals(waiting, lambda: RuntimeError(*error.args))
        logger.warning("%s: %s; %d workers serve", self.pool, error, workers)

    def _mailbox(self, loop: asyncio.AbstractEventLoop) -> Mailbox:
        # Copied, because several loops in several threads may come here at once; closed ones are forgotten.
        known = {each: box for each, box in list(self._mailboxes.items()) if not each.is_closed()}
        mailbox = known.setdefault(loop, Mailbox(loop, self))
        self._mailboxes = known
        return mailbox

    def _tell_streams(self) -> None:
        if self._streams_told or not self._schedule.streaming:
            return
        with self._lock:
            told, self._streams_told = self._streams_told, self._schedule.held_by_streams()
            streaming = self._schedule.streaming
        if self._streams_told and not told:
            logger.warning(
                "%s: change streams and tailable cursors hold all %d connections that other work may use, and "
                "operations wait. Raise maxPoolSize above the number of streams, or give the streams a pool of "
                "their own.",
                self.pool,
                streaming,
            )
