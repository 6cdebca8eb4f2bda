"""Motor's way from ``await`` to a thread and back, one for each client.

Motor runs every operation of every client on one process-wide pool of ``cpu_count * 5`` threads, in front of
the connections: 100 connections on two cores serve 10 operations at a time. Here each client has workers of its
own, as many as connections, entered through the public ``io_loop`` argument of ``AsyncIOMotorClient``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from pymongo.synchronous.client_session import ClientSession

from async_mongo_pool.errors import PoolClosingError, PoolLoopError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MotorAdmission", "RunningLoop"]

logger = logging.getLogger("async_mongo_pool")

_FINISHING = frozenset({"commit_transaction", "abort_transaction", "end_session", "close"})


class _Operation:
    """One call on its way through a worker, and the future in the loop that waits for it."""

    __slots__ = ("_call", "_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> None:
        self._loop = loop
        self._call = call
        self._future = loop.create_future()

    @property
    def future(self) -> asyncio.Future[Any]:
        return self._future

    def run(self) -> None:
        if self._future.cancelled():
            return
        result: Any = None
        error: BaseException | None = None
        try:
            result = self._call()
        except StopIteration as stop:
            # A future refuses StopIteration; the standard executor converts it the same way.
            error = RuntimeError(f"the operation raised StopIteration: {stop}")
        except BaseException as raised:
            error = raised
        self._hand_back(result, error)
        # An error's traceback refers to this frame: only the garbage collector would free the two.
        del self, error

    def refuse(self, error: BaseException) -> None:
        self._hand_back(None, error)

    def _hand_back(self, result: Any, error: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:
            # The loop was closed while the operation ran: nobody is left to take the result.
            logger.debug("dropped the result of an operation whose event loop is closed")

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self._future.done():
            return
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)


class MotorAdmission:
    """A FIFO queue and the daemon workers that serve it.

    Args:
        pool: The name of the pool, for errors and thread names.
        limit: Tells how many workers there may be now: connections per server times data-bearing servers.
    """

    def __init__(self, pool: str, limit: Callable[[], int]) -> None:
        self.pool = pool
        self._limit = limit
        self._reset()
        _admissions.add(self)

    def _reset(self) -> None:
        self._queue: deque[_Operation] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._workers = 0
        self._idle = 0
        self._running = 0
        self._refusing = False
        self._stopped = False

    def submit(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Queue a call for the workers; must be called from a coroutine.

        Refusals arrive on the future and are never raised here: Motor's ``to_list`` and ``aggregate`` hang for
        ever when the call itself raises or the future is cancelled.

        Args:
            call: The blocking driver call, with its context bound.

        Returns:
            A future of the running loop.

        Raises:
            PoolLoopError: No event loop runs in this thread.
        """
        operation = _Operation(_running_loop(self.pool), call)
        with self._changed:
            refused = self._stopped or (self._refusing and not finishes_work(call))
            if not refused:
                self._queue.append(operation)
                if served := self._idle >= len(self._queue):
                    self._changed.notify()
        if refused:
            operation.future.set_exception(PoolClosingError.of(self.pool))
        elif not served:
            self._grow()
        return operation.future

    def in_progress(self) -> int:
        """The operations that wait or run."""
        with self._changed:
            return len(self._queue) + self._running

    def refuse(self) -> None:
        """Take no new work from now on, except what finishes work already begun."""
        with self._changed:
            self._refusing = True

    def stop(self) -> None:
        """Refuse whatever still waits and let the workers go once they are idle."""
        with self._changed:
            self._refusing = self._stopped = True
            waiting, self._queue = list(self._queue), deque()
            self._changed.notify_all()
        for operation in waiting:
            operation.refuse(PoolClosingError.of(self.pool))

    def _grow(self) -> None:
        # Outside the lock, because telling the limit may log, and a log handler may use this very pool.
        limit = self._limit()
        with self._changed:
            if self._workers >= limit or not self._queue:
                return
            self._workers += 1
            name = f"{self.pool}-worker-{self._workers}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError as error:
            self._do_without_worker(error)

    def _do_without_worker(self, error: RuntimeError) -> None:
        """The system gives no more threads: those that there are serve; without any, nobody may wait."""
        with self._changed:
            self._workers -= 1
            workers = self._workers
            waiting = [] if workers else list(self._queue)
            if waiting:
                self._queue.clear()
        for operation in waiting:
            operation.refuse(error)
        logger.warning("%s: %s; %d workers serve", self.pool, error, workers)

    def _work(self) -> None:
        operation = self._next(finished=False)
        while operation is not None:
            operation.run()
            # An idle worker must not keep the last result alive.
            del operation
            operation = self._next(finished=True)

    def _next(self, *, finished: bool) -> _Operation | None:
        with self._changed:
            self._running -= finished
            while not self._queue:
                if self._stopped:
                    self._workers -= 1
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            self._running += 1
            return self._queue.popleft()


def finishes_work(call: Any) -> bool:
    """Whether a call of Motor's ends or continues work already begun: those pass while a pool drains.

    Args:
        call: What Motor hands to ``run_in_executor``: ``partial(context.run, method, owner, *arguments)``.
    """
    if not isinstance(call, partial) or not call.args:
        return False
    method, *arguments = call.args
    arguments.extend(call.keywords.values())
    if any(isinstance(argument, ClientSession) and argument.in_transaction for argument in arguments):
        return True
    name = getattr(method, "__name__", "")
    if name == "_refresh":
        return bool(arguments and getattr(arguments[0], "cursor_id", None))
    return name in _FINISHING


def _running_loop(pool: str) -> asyncio.AbstractEventLoop:
    """The event loop of this thread, or an error that names the pool."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise PoolLoopError.no_loop(pool) from None


class RunningLoop(asyncio.AbstractEventLoop):
    """Given to Motor as its ``io_loop``: whichever loop is running at each call, with our workers.

    So one client serves one ``asyncio.run`` after another and several loops in several threads at once.
    """

    def __init__(self, admission: MotorAdmission) -> None:
        self._admission = admission

    # What Motor itself uses, written out because these are on the path of every operation.

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Every operation of the client comes here; Motor's own executor is not used."""
        return self._admission.submit(partial(func, *args) if args else func)

    def create_future(self) -> asyncio.Future[Any]:
        """A future of the running loop."""
        return self.running().create_future()

    def running(self) -> asyncio.AbstractEventLoop:
        """The loop that runs in this thread.

        Raises:
            PoolLoopError: None does.
        """
        return _running_loop(self._admission.pool)


def _forward(name: str) -> Callable[..., Any]:
    def method(self: RunningLoop, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.running(), name)(*args, **kwargs)

    method.__name__ = name
    return method


for _name in dir(asyncio.AbstractEventLoop):
    if not _name.startswith("__") and _name not in vars(RunningLoop):
        setattr(RunningLoop, _name, _forward(_name))
del _name

_admissions: weakref.WeakSet[MotorAdmission] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for admission in list(_admissions):
        admission._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
