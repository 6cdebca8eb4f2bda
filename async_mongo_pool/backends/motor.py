"""AsyncIOMotorClient: asynchronous calls, run by workers of our own on a synchronous MongoClient."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from motor.motor_asyncio import AsyncIOMotorClient

from async_mongo_pool.bounds import margin
from async_mongo_pool.daemon import in_daemon_thread, wait_in_loop
from async_mongo_pool.events import ConnectionEvents
from async_mongo_pool.retry.waking import wake_client

from .admission import MotorAdmission, RunningLoop, WaitLimits
from .handle import GRACE, OUR_DRIVER, AsyncClientHandle
from .pymongo_sync import BlockingHandle

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from pymongo.monitoring import ConnectionCreatedEvent

    from async_mongo_pool.config import ClientSettings
    from async_mongo_pool.stats import ExecutorStats

__all__ = ["MotorHandle", "create"]

logger = logging.getLogger("async_mongo_pool")

_told: set[str] = set()


class _WatchfulEvents(ConnectionEvents):
    """Looks up when a connection is made: often enough to notice a change of the client, and never per call."""

    def __init__(self, look: Callable[[], None], max_size: int | None, min_size: int) -> None:
        super().__init__(max_size, min_size)
        self._look = look

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        """Count as always, then look."""
        super().connection_created(event)
        self._look()


class MotorHandle(BlockingHandle, AsyncClientHandle):
    """Runs the blocking calls of ``BlockingHandle`` on daemon threads, never on the workers of the user."""

    backend = "motor"
    client: AsyncIOMotorClient[dict[str, Any]]

    def __init__(self, pool: str, settings: ClientSettings) -> None:
        super().__init__(pool, settings)
        self.admission = MotorAdmission(
            pool,
            self._worker_limit,
            connections=settings.value("maxPoolSize") or None,
            limits=WaitLimits(settings.value("waitQueueTimeoutMS"), settings.value("timeoutMS")),
            max_waiting=settings.pool_options.max_waiting,
            queue_waits=self.events.queue_waits,
            on_submit=self.observers.on_submit,
            snapshot=self.snapshot,
            passes=self.is_worked_with,
        )
        self._bypass_told = False

    def make_events(self, max_size: int | None, min_size: int) -> ConnectionEvents:
        """The listener that counts, and notices a client whose operations pass our workers by."""
        return _WatchfulEvents(self.notice_bypass, max_size, min_size)

    @property
    def driver_client(self) -> Any:
        """The synchronous client that Motor owns."""
        return self.client.delegate

    async def start(self, timeout: float, *, warm_up: bool) -> None:
        """Connect, ping, and warm up if asked, within ``timeout`` seconds."""
        starting = in_daemon_thread(f"{self.pool}-start", lambda: self.start_blocking(timeout, warm_up=warm_up))
        seconds = timeout - margin(timeout)
        try:
            await wait_in_loop(starting, seconds)
        except TimeoutError:
            wake_client(self)
            await self._last_moment(starting, timeout, timeout - seconds)

    async def _last_moment(self, starting: Future[None], timeout: float, seconds: float) -> None:
        try:
            await wait_in_loop(starting, seconds)
        except TimeoutError:
            raise self.start_timed_out(timeout) from None

    async def look(self, timeout: float, *, server: bool = False) -> dict[str, Any] | None:
        """Ping, ask for the version where it is not known, and for the server's connections if told to."""
        self.notice_bypass()
        looking = in_daemon_thread(f"{self.pool}-look", lambda: self.look_blocking(timeout, server=server))
        return await wait_in_loop(looking, timeout + GRACE)

    def in_progress(self) -> int:
        """The operations that wait for a worker or run on one, and the functions that make them."""
        return max(self.admission.in_progress(), super().in_progress())

    def executor_stats(self) -> ExecutorStats:
        """The state of the workers and of the line in front of them."""
        return self.admission.stats()

    def refuse_new_work(self) -> None:
        """From now on only what finishes work begun before is let through."""
        self.notice_bypass()
        self.admission.refuse()

    def release(self) -> None:
        """Let the workers go."""
        self.admission.stop()

    def notice_bypass(self) -> None:
        """Say once when ``client.get_io_loop`` was overwritten: operations then pass our workers by."""
        if self._bypass_told or getattr(self.client.get_io_loop, "__module__", None) == "motor.core":
            return
        self._bypass_told = True
        # A listener may not log: a handler that writes to this database would wait for its own connection.
        try:
            in_daemon_thread(f"{self.pool}-notice", self._tell_bypass)
        except RuntimeError:
            # The interpreter shuts down, which closes the pool: nobody waits for a connection any more.
            self._tell_bypass()

    def _tell_bypass(self) -> None:
        logger.warning(
            "%s: client.get_io_loop was overwritten, so its operations run on Motor's own executor: a few threads "
            "for all clients, and no option or statistic of this pool reaches them there. "
            "Remove that line: the client serves every event loop as it is.",
            self.pool,
        )

    def _worker_limit(self) -> int:
        most = self.settings.pool_options.max_threads
        per_server = self.settings.value("maxPoolSize")
        wanted = per_server * max(self.data_bearing_servers(), 1) if per_server else most
        if wanted > most:
            _tell_once(
                f"threads {self.pool}",
                f"{self.pool}: {wanted} connections would need as many threads; max_threads={most} limits them. "
                'Raise max_threads, lower maxPoolSize, or use backend="pymongo", which needs no threads.',
            )
        return min(wanted, most)


def create(pool: str, settings: ClientSettings) -> MotorHandle:
    """Make a client that has not connected yet; no I/O.

    Raises:
        Exception: Whatever the driver's constructor finds wrong with the options.
    """
    _tell_once(
        "end of life",
        "Motor is past its end of life (2026-05-14; critical fixes until 2027-05-14). "
        'PyMongo\'s own AsyncMongoClient takes its place: initialize(..., backend="pymongo").',
    )
    handle = MotorHandle(pool, settings)
    handle.client = AsyncIOMotorClient(
        settings.uri,
        io_loop=RunningLoop(handle.admission),  # type: ignore[abstract]  # complete when its module is loaded
        event_listeners=handle.listeners(),
        **settings.client_options,
    )
    # Never `driver=` to Motor: it joins names with "|", which PyMongo refuses since 4.19.
    for driver in filter(None, (settings.driver, OUR_DRIVER)):
        handle.client.delegate.append_metadata(driver)
    return handle


def _tell_once(topic: str, sentence: str) -> None:
    if topic not in _told:
        _told.add(topic)
        logger.warning(sentence)
