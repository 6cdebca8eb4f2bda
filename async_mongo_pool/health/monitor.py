"""Looking at a pool in the background: a task for asyncio, a daemon thread for the twin."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from async_mongo_pool.config.options import describe
from async_mongo_pool.daemon import wait_in_loop
from async_mongo_pool.diagnosis import for_log
from async_mongo_pool.errors import PoolConfigurationError
from async_mongo_pool.forks import StartsAfresh
from async_mongo_pool.loops import is_being_cancelled, is_gone

from .asking import check_seconds, check_terms, without_a_look
from .judge import FALL, RISE
from .mixins import find_out, find_out_blocking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from async_mongo_pool.pool_base import PoolBase

    from .results import Readiness, Require

__all__ = ["AsyncHealthMonitor", "HealthMonitor"]

logger = logging.getLogger("async_mongo_pool")

_STOP_GRACE = 1.0
"""Seconds beyond its own timeout that a look in progress may take to end."""


class _Watch(StartsAfresh):
    """What both monitors know and decide without waiting."""

    def __init__(
        self,
        pool: type[PoolBase],
        interval: float = 5.0,
        *,
        require: Require = "any",
        timeout: float = 1.0,
        fall: int = FALL,
        rise: int = RISE,
        on_change: Callable[[Readiness, Readiness], Any] | None = None,
    ) -> None:
        super().__init__()
        self._lifecycle = pool._lifecycle
        self._terms = check_terms(require, fall, rise)
        self._interval = check_seconds("interval", interval)
        self._timeout = check_seconds("timeout", timeout)
        if on_change is not None and not callable(on_change):
            raise PoolConfigurationError.bad_value("on_change", describe(on_change), "argument", "a callable")
        self._on_change = on_change
        self._last: tuple[float, Readiness] | None = None
        self._lost_at: float | None = None

    def _after_fork_in_child(self) -> None:
        """Nobody has looked at anything here."""
        self._last = self._lost_at = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._lifecycle.name}: {self.status().state}>"

    def status(self) -> Readiness:
        """What the last look found, and its age; no I/O. The state is "starting" before the first one."""
        if self._last is None:
            return without_a_look(self._lifecycle, self._terms.require)
        at, answer = self._last
        return answer.aged(time.monotonic() - at)

    def _note(self, new: Readiness) -> tuple[Readiness, Readiness] | None:
        """Keep what a look found, and log it; the old and the new answer if the state has changed."""
        old = self.status()
        self._last = (time.monotonic() - new.age_seconds, new)
        if old.state == new.state:
            return None
        if new.ready and self._lost_at is not None:
            seconds, self._lost_at = time.monotonic() - self._lost_at, None
            logger.info("%s is restored after %.1f s: %s", new.pool, seconds, new.reason)
        elif new.state == "down" and self._lost_at is None and self._lifecycle.handle() is not None:
            self._lost_at = time.monotonic()
            logger.warning("%s is lost: %s", new.pool, new.reason)
        return old, new

    def _complain(self, error: Exception | asyncio.CancelledError) -> None:
        handle = self._lifecycle.handle()
        told = for_log(error, *([handle.settings] if handle is not None else []))
        logger.error("%s: on_change failed; the monitor goes on", self._lifecycle.name, exc_info=told)


class _Run:
    """One run of the task, from a start to its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.task: asyncio.Task[None] | None = None
        self.stopped = False
        self.ended: Future[None] = Future()

    def goes_on(self) -> bool:
        return self.task is not None and not self.task.done() and not is_gone(self.loop)

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


class AsyncHealthMonitor(_Watch):
    """Looks at a pool again and again in a task of the running event loop; ``async with`` starts and stops it.

    It ends with its event loop, and does not exist in a forked child until it is started there.

    Args:
        pool: The pool class; it may be opened, closed and opened again meanwhile.
        interval: Seconds between two looks. Default 5.
        require: As for ``readiness``, and so are the next three.
        timeout: Seconds for one look. Default 1.
        fall: Bad signs in a row after which a ready pool is down. Default 2.
        rise: Good signs in a row after which it is ready again. Default 1.
        on_change: Called with the old and the new ``Readiness`` at every change of the state; may be a coroutine
            function. The next look waits for it. What it raises is logged.

    Raises:
        PoolConfigurationError: An argument cannot be used.
    """

    _run: _Run | None = None

    def _after_fork_in_child(self) -> None:
        """The task is the parent's."""
        super()._after_fork_in_child()
        self._run = None

    @property
    def running(self) -> bool:
        """Whether it looks: started, not stopped, in this process, and its event loop runs."""
        return self._run is not None and not self._run.stopped and self._run.goes_on()

    async def start(self) -> None:
        """Begin to look, now and then every ``interval``; nothing happens while it runs already."""
        if self.running:
            return
        # One of its own for each start: an earlier one that is about to end must not go on.
        if self._run is not None:
            self._run.stopped = True
        run = self._run = _Run(asyncio.get_running_loop())
        run.task = asyncio.create_task(self._look(run), name=f"{self._lifecycle.name}-health")
        run.task.add_done_callback(lambda _: run.ended.set_result(None))

    async def stop(self) -> None:
        """Look no more, and wait until that is so; any event loop may call it, and ``on_change`` too.

        It waits for 1 s beyond the ``timeout`` of a look at most.
        """
        run = self._run
        if run is None:
            return
        run.stopped = True
        if not run.goes_on() or asyncio.current_task() is run.task:
            # Called by on_change it would wait for itself, for ever.
            return
        # The loop may end in this very moment, and the task with it.
        with suppress(RuntimeError):
            run.loop.call_soon_threadsafe(run.cancel)
        with suppress(TimeoutError):
            await wait_in_loop(run.ended, self._timeout + _STOP_GRACE)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _look(self, run: _Run) -> None:
        while not run.stopped:
            changed = self._note(await find_out(self._lifecycle, self._terms, self._timeout, 0.0))
            if changed is not None and self._on_change is not None:
                await self._tell(self._on_change, *changed)
            if not run.stopped:
                await asyncio.sleep(self._interval)

    async def _tell(
        self, callback: Callable[[Readiness, Readiness], Awaitable[None] | None], old: Readiness, new: Readiness
    ) -> None:
        try:
            outcome = callback(old, new)
            if inspect.isawaitable(outcome):
                await outcome
        except (Exception, asyncio.CancelledError) as error:
            if is_being_cancelled():
                raise
            self._complain(error)


class HealthMonitor(_Watch):
    """Looks at a pool again and again in a daemon thread; ``with`` starts and stops it.

    It keeps no process alive, and does not exist in a forked child until it is started there.

    Args:
        pool: The pool class; it may be opened, closed and opened again meanwhile.
        interval: Seconds between two looks. Default 5.
        require: As for ``readiness``, and so are the next three.
        timeout: Seconds for one look. Default 1.
        fall: Bad signs in a row after which a ready pool is down. Default 2.
        rise: Good signs in a row after which it is ready again. Default 1.
        on_change: Called in the thread with the old and the new ``Readiness`` at every change of the state. The
            next look waits for it. What it raises is logged.

    Raises:
        PoolConfigurationError: An argument cannot be used, or ``on_change`` is a coroutine function, for which
            there is no event loop.
    """

    _thread: threading.Thread | None = None
    _stopping: threading.Event | None = None

    def __init__(
        self,
        pool: type[PoolBase],
        interval: float = 5.0,
        *,
        require: Require = "any",
        timeout: float = 1.0,
        fall: int = FALL,
        rise: int = RISE,
        on_change: Callable[[Readiness, Readiness], Any] | None = None,
    ) -> None:
        super().__init__(
            pool, interval, require=require, timeout=timeout, fall=fall, rise=rise, on_change=on_change
        )
        if inspect.iscoroutinefunction(on_change):
            raise PoolConfigurationError.bad_value(
                "on_change", describe(on_change), "argument", "a plain function: this monitor has no event loop"
            )

    @property
    def running(self) -> bool:
        """Whether it looks: started, not stopped, and in this process."""
        thread, stopping = self._thread, self._stopping
        return thread is not None and thread.is_alive() and stopping is not None and not stopping.is_set()

    def start(self) -> None:
        """Begin to look, now and then every ``interval``; nothing happens while it runs already.

        Raises:
            RuntimeError: The system has no more threads.
        """
        if self.running:
            return
        # One of its own for each thread: an earlier one that is about to end must not go on.
        stopping = self._stopping = threading.Event()
        name = f"{self._lifecycle.name}-health"
        self._thread = threading.Thread(target=self._run, args=(stopping,), name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and wait until that is so; any thread may call it, and ``on_change`` too.

        It waits for 1 s beyond the ``timeout`` of a look at most.
        """
        if self._stopping is not None:
            self._stopping.set()
        thread = self._thread
        # Not alive: it has ended, or could not be started.
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(self._timeout + _STOP_GRACE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            changed = self._note(find_out_blocking(self._lifecycle, self._terms, self._timeout, 0.0))
            if changed is not None and self._on_change is not None:
                try:
                    self._on_change(*changed)
                except Exception as error:
                    self._complain(error)
            stopping.wait(self._interval)
