"""AsyncMongoClient: PyMongo's own asyncio client, bound by the driver to the loop that made it."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from async_mongo_pool.bounds import margin
from async_mongo_pool.daemon import in_daemon_thread, result_of, wait_in_loop
from async_mongo_pool.events import TaskConnectionEvents
from async_mongo_pool.loops import is_gone, running_loop
from async_mongo_pool.names import NameLookup, names_in
from async_mongo_pool.report import STATUS_COMMAND, no_server_connections, server_connections
from async_mongo_pool.retirement import next_look
from async_mongo_pool.retry.waking import wake_client
from async_mongo_pool.retry_stats import NO_RETRIES

from . import driver_state
from .handle import GRACE, OUR_DRIVER, POLL_INTERVAL, AsyncClientHandle, CloseReport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from async_mongo_pool.config import ClientSettings
    from async_mongo_pool.events import ConnectionEvents
    from async_mongo_pool.retry_stats import RetryStats
    from async_mongo_pool.stats import PoolSnapshot

__all__ = ["PyMongoAsyncHandle", "create"]

T = TypeVar("T")

logger = logging.getLogger("async_mongo_pool")

_SAFE_UNDER_CANCELLATION = (4, 20)

_tasks: set[asyncio.Task[Any]] = set()
"""The loop itself keeps only weak references to its tasks."""


class PyMongoAsyncHandle(AsyncClientHandle):
    """Starts, pings and closes an AsyncMongoClient in its own loop."""

    backend = "pymongo"
    client: AsyncMongoClient[dict[str, Any]]
    loop: asyncio.AbstractEventLoop
    _starting: asyncio.Task[None] | None = None
    _retiring: asyncio.Task[None] | None = None

    events: TaskConnectionEvents

    def make_events(self, max_size: int | None, min_size: int) -> ConnectionEvents:
        """The listener that counts for tasks."""
        return TaskConnectionEvents(max_size, min_size)

    def snapshot(
        self,
        status: Literal["open", "closing", "not_initialized"] = "open",
        replacements: int = 0,
        retries: RetryStats = NO_RETRIES,
    ) -> PoolSnapshot:
        """What the client does now, with the events mended that the driver leaves out when it is cancelled."""
        if running_loop() is self.loop or not self.loop.is_running():
            self._reconcile()
        else:
            # Only the loop's own thread sees the driver's pool hold still; whoever asks next has the result.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._reconcile)
        return super().snapshot(status, replacements, retries)

    @property
    def refresh(self) -> Callable[[Callable[[], None]], None]:
        """Compares with the driver's pool in the client's loop, then calls what it is given."""
        return self._refresh

    def _refresh(self, done: Callable[[], None]) -> None:
        def compare() -> None:
            self._reconcile()
            done()

        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(compare)

    def _reconcile(self) -> None:
        self.events.reconcile(driver_state.pools_now(self.client, self.events.agrees))

    async def start(self, timeout: float, *, warm_up: bool) -> None:
        """Connect, ping, and warm up if asked, within ``timeout`` seconds."""
        # Not cancelled with its caller: the driver leaves a socket behind when it is cancelled while
        # connecting. Whoever is cancelled closes the client, and that ends this task too.
        self._starting = _keep(asyncio.ensure_future(self._start(timeout, warm_up=warm_up)))
        await asyncio.shield(self._starting)

    async def _start(self, timeout: float, *, warm_up: bool) -> None:
        deadline = time.monotonic() + timeout
        await self._await_names(timeout - margin(timeout))
        left = max(deadline - time.monotonic(), 0.001)
        seconds = max(left - margin(timeout), 0.001)
        waking = self.loop.call_later(seconds, wake_client, self)
        try:
            async with asyncio.timeout(left):
                await self._ping(seconds)
        except TimeoutError:
            raise self.start_timed_out(timeout) from None
        finally:
            waking.cancel()
        if warm_up:
            await self._warm_up(deadline)

    async def _await_names(self, seconds: float) -> None:
        self.names = NameLookup(names_in(self.settings.uri))
        try:
            await wait_in_loop(self.names.enough, seconds)
        except TimeoutError:
            raise self.start_timed_out(seconds) from None

    async def look(self, timeout: float, *, server: bool = False) -> dict[str, Any] | None:
        """Ping, ask for the version where it is not known, and for the server's connections if told to."""
        return await self._in_own_loop(partial(self._look, server=server), timeout)

    async def _look(self, timeout: float, *, server: bool) -> dict[str, Any] | None:
        deadline = time.monotonic() + timeout
        await self._ping(timeout)
        if self.asks_version():
            with self.version_errors(), pymongo.timeout(max(deadline - time.monotonic(), 0.001)):
                answer = await self.client.admin.command("buildInfo", read_preference=self.client.read_preference)
                self.server_version = str(answer["version"])
        return await self._fetch_status(max(deadline - time.monotonic(), 0.001)) if server else None

    async def _fetch_status(self, timeout: float) -> dict[str, Any]:
        try:
            with pymongo.timeout(timeout):
                return server_connections(
                    await self.client.admin.command(STATUS_COMMAND, read_preference=self.client.read_preference)
                )
        except PyMongoError as error:
            return no_server_connections(self.settings.redactor.scrub(str(error)))

    async def _ping(self, timeout: float) -> None:
        with pymongo.timeout(timeout):
            await self.client.admin.command("ping", read_preference=self.client.read_preference)

    async def _in_own_loop(self, call: Callable[[float], Coroutine[Any, Any, T]], timeout: float) -> T:
        """The driver refuses every loop but the client's; whoever watches the pool may run in another one."""
        if asyncio.get_running_loop() is self.loop:
            return await call(timeout)
        return await wait_in_loop(asyncio.run_coroutine_threadsafe(call(timeout), self.loop), timeout + GRACE)

    def retire(self, after: float, limit: float) -> None:
        """Close in the background once nobody uses the client: not before ``after``, not after ``limit`` s."""
        self._retiring = _keep(asyncio.ensure_future(self._retire(after, limit)))

    async def _retire(self, after: float, limit: float) -> None:
        began = time.monotonic()
        looks = 0
        try:
            while (wait := next_look(time.monotonic() - began, looks, after, limit)) is not None:
                await asyncio.sleep(wait)
                looks += 1
                if time.monotonic() - began >= after and await _off_loop(self.at_rest):
                    break
        except asyncio.CancelledError:
            if not self._hurry.is_set():
                # The loop is going down (asyncio.run cancels what is left): nobody will look again.
                driver_state.shut_sockets(self.client)
                self._count_as_finished()
            raise
        self._retiring = None
        self.finish(drain=0, timeout=10)

    def _count_as_finished(self) -> None:
        with self._finish_lock:
            self._hurry.set()
            self._finished = self._finished or result_of(CloseReport(drained=True, abandoned=0, seconds=0.0))
        self._tell(self._finished)

    async def _warm_up(self, deadline: float) -> None:
        seconds = max(deadline - time.monotonic(), 0.001)
        with pymongo.timeout(seconds):
            filling = _keep(asyncio.ensure_future(self._fill()))
        await asyncio.wait({filling}, timeout=seconds)
        # No event of the driver can be awaited here, only looked at.
        while not self.warmed_up() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_INTERVAL)

    async def _fill(self) -> None:
        with suppress(PyMongoError):
            if (filling := driver_state.fill_pools(self.client)) is not None:
                await filling

    def finish(self, drain: float, timeout: float) -> Future[CloseReport]:
        """Begin to close the client; a closing whose event loop has ended meanwhile is ended here."""
        finished = super().finish(drain, timeout)
        if not finished.done() and is_gone(self.loop):
            with suppress(InvalidStateError):
                finished.set_result(self._abort().result())
        return finished

    def _begin_finish(self, drain: float, timeout: float) -> Future[CloseReport]:
        if is_gone(self.loop):
            return self._abort()
        if self._retiring is not None:
            self.loop.call_soon_threadsafe(self._retiring.cancel)
        future: Future[CloseReport] = Future()
        future.set_running_or_notify_cancel()
        if running_loop() is self.loop:
            # At once, so that a loop that ends right afterwards finds the task among those that it cancels.
            self._start_closing(drain, timeout, future)
            return future
        try:
            self.loop.call_soon_threadsafe(self._start_closing, drain, timeout, future)
        except RuntimeError:
            return self._abort()
        return future

    def _abort(self) -> Future[CloseReport]:
        abandoned = self.in_progress()
        driver_state.shut_sockets(self.client)
        if not self.loop.is_closed():
            # Should the stopped loop ever run again, the driver's monitors must not reconnect.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._start_closing, 0.0, 1.0, Future())
        return result_of(CloseReport(not abandoned, abandoned, 0.0))

    def _start_closing(self, drain: float, timeout: float, future: Future[CloseReport]) -> None:
        def report(task: asyncio.Task[CloseReport]) -> None:
            # Somebody may have ended the future already, because this loop seemed to be gone.
            with suppress(InvalidStateError):
                if task.cancelled():
                    # Perhaps before its first step, when nothing inside it could clean up.
                    driver_state.shut_sockets(self.client)
                    future.set_result(CloseReport(drained=False, abandoned=self.in_progress(), seconds=0.0))
                elif (error := task.exception()) is not None:
                    future.set_exception(error)
                else:
                    future.set_result(task.result())

        _keep(asyncio.ensure_future(self._close(drain, timeout))).add_done_callback(report)

    async def _busy_for(self) -> float | None:
        return POLL_INTERVAL if self.in_progress() else await _off_loop(self.busy_for)

    async def _close(self, drain: float, timeout: float) -> CloseReport:
        began = time.monotonic()
        try:
            while (pause := await self._busy_for()) is not None:
                if (left := began + drain - time.monotonic()) <= 0:
                    break
                await asyncio.sleep(min(pause, left))
            abandoned = self.in_progress()
            await self._close_client(max(began + timeout - time.monotonic(), 0.05))
        except asyncio.CancelledError:
            driver_state.shut_sockets(self.client)
            raise
        if abandoned:
            driver_state.interrupt_operations(self.client)
        if self._starting is not None:
            await asyncio.wait({self._starting}, timeout=max(began + timeout - time.monotonic(), 0.05))
        return CloseReport(pause is None, abandoned, time.monotonic() - began)

    async def _close_client(self, timeout: float) -> None:
        # The first try may hang in endSessions against a silent server; the sessions are off the list
        # then, so that the second one has nothing left to send.
        driver_state.stay_closed(self.client)
        farewell = self.farewell(timeout * 0.8)
        for seconds in (farewell, timeout - farewell):
            with suppress(PyMongoError, TimeoutError), pymongo.timeout(seconds):
                async with asyncio.timeout(seconds):
                    await self.client.close()
                    return
        driver_state.shut_sockets(self.client)


def create(pool: str, settings: ClientSettings) -> PyMongoAsyncHandle:
    """Make a client that has not connected yet, for the running loop; no I/O.

    Raises:
        Exception: Whatever the driver's constructor finds wrong with the options.
    """
    if pymongo.version_tuple < _SAFE_UNDER_CANCELLATION:
        logger.warning(
            "%s: PyMongo %s loses slots of AsyncMongoClient when tasks are cancelled; use 4.20 or newer.",
            pool,
            pymongo.version,
        )
    handle = PyMongoAsyncHandle(pool, settings)
    handle.loop = asyncio.get_running_loop()
    options = dict(settings.client_options)
    if settings.driver is not None:
        options["driver"] = settings.driver
    handle.client = AsyncMongoClient(settings.uri, event_listeners=handle.listeners(), **options)
    handle.client.append_metadata(OUR_DRIVER)
    return handle


async def _off_loop(question: Callable[[], T]) -> T:
    """Ask the garbage collector in a thread: with millions of objects the answer takes its time."""
    try:
        asked = in_daemon_thread("async_mongo_pool-look", question)
    except RuntimeError:
        return question()
    return await wait_in_loop(asked)


def _keep(task: asyncio.Task[T]) -> asyncio.Task[T]:
    _tasks.add(task)
    task.add_done_callback(_forget)
    return task


def _forget(task: asyncio.Task[Any]) -> None:
    _tasks.discard(task)
    if not task.cancelled():
        # Mark a failure as seen: whoever waited for it may have been cancelled.
        task.exception()
