"""The synchronous MongoClient: the twin's backend, and the client underneath Motor's."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from async_mongo_pool.bounds import margin
from async_mongo_pool.daemon import in_daemon_thread, result_of
from async_mongo_pool.errors import PoolClosingError
from async_mongo_pool.loops import running_loop
from async_mongo_pool.names import NameLookup, names_in
from async_mongo_pool.report import (
    LOOK_SHARE,
    STATS_BOUND,
    STATUS_COMMAND,
    Findings,
    no_server_connections,
    server_connections,
)
from async_mongo_pool.retirement import next_look
from async_mongo_pool.retry.waking import wake_client

from . import driver_state
from .handle import OUR_DRIVER, POLL_INTERVAL, ClientHandle, CloseReport

if TYPE_CHECKING:
    from concurrent.futures import Future

    from async_mongo_pool.config import ClientSettings

__all__ = ["BlockingHandle", "PyMongoSyncHandle", "create"]


class BlockingHandle(ClientHandle):
    """Starts, pings and closes a synchronous MongoClient with blocking calls."""

    def start_blocking(self, timeout: float, *, warm_up: bool) -> None:
        """Ping, and warm up if asked, within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        self._await_names(timeout - margin(timeout))
        left = max(deadline - time.monotonic() - margin(timeout), 0.001)
        self.ping_blocking(left)
        if warm_up:
            self._warm_up(deadline)

    def _await_names(self, seconds: float) -> None:
        self.names = NameLookup(names_in(self.settings.uri))
        wait((self.names.enough,), seconds)
        if not self.names.enough.done():
            raise self.start_timed_out(seconds)

    def ping_blocking(self, timeout: float) -> None:
        """Run ``ping`` on a server that the client's read preference selects."""
        client = self.driver_client
        with pymongo.timeout(timeout):
            client.admin.command("ping", read_preference=client.read_preference)

    def look_blocking(self, timeout: float, *, server: bool = False) -> dict[str, Any] | None:
        """Ping, ask for the version where it is not known, and for the server's connections if told to."""
        deadline = time.monotonic() + timeout
        self.ping_blocking(timeout)
        self._fetch_version(max(deadline - time.monotonic(), 0.001))
        return self._fetch_status(max(deadline - time.monotonic(), 0.001)) if server else None

    def _fetch_status(self, timeout: float) -> dict[str, Any]:
        client = self.driver_client
        try:
            with pymongo.timeout(timeout):
                return server_connections(
                    client.admin.command(STATUS_COMMAND, read_preference=client.read_preference)
                )
        except PyMongoError as error:
            return no_server_connections(self.settings.redactor.scrub(str(error)))

    def _fetch_version(self, timeout: float) -> None:
        if self.asks_version():
            client = self.driver_client
            with self.version_errors(), pymongo.timeout(timeout):
                answer = client.admin.command("buildInfo", read_preference=client.read_preference)
                self.server_version = str(answer["version"])

    def retire(self, after: float, limit: float) -> None:
        """Close in the background once nobody uses the client: not before ``after``, not after ``limit`` s."""

        def wait_then_close() -> None:
            began = time.monotonic()
            looks = 0
            while (wait := next_look(time.monotonic() - began, looks, after, limit)) is not None:
                if self._hurry.wait(wait):
                    return
                looks += 1
                if time.monotonic() - began >= after and self.at_rest():
                    break
            self.finish(drain=0, timeout=10)

        in_daemon_thread(f"{self.pool}-retire", wait_then_close)

    def _warm_up(self, deadline: float) -> None:
        with suppress(PyMongoError), pymongo.timeout(max(deadline - time.monotonic(), 0.001)):
            driver_state.fill_pools(self.driver_client)
        while not self.warmed_up() and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL)

    def _begin_finish(self, drain: float, timeout: float) -> Future[CloseReport]:
        try:
            return in_daemon_thread(f"{self.pool}-close", lambda: self._close(drain, timeout))
        except RuntimeError:
            # The interpreter shuts down (from Python 3.12 on it starts no thread then), or the system has no
            # more threads: the caller has to do it, and must not stall an event loop for longer than it takes.
            return result_of(self._close(0 if running_loop() else drain, timeout))

    def _close(self, drain: float, timeout: float) -> CloseReport:
        began = time.monotonic()
        self.refuse_new_work()
        while (pause := self.busy_for()) is not None and (left := began + drain - time.monotonic()) > 0:
            time.sleep(min(pause, left))
        abandoned = self.in_progress()
        remaining = max((began + timeout - time.monotonic()) * 0.8, 0.05)
        driver_state.stay_closed(self.driver_client)
        # endSessions goes over the network; the rest of close() does not wait for a server.
        with suppress(PyMongoError), pymongo.timeout(self.farewell(remaining)):
            self.driver_client.close()
        if abandoned:
            driver_state.interrupt_operations(self.driver_client)
        self.release()
        return CloseReport(pause is None, abandoned, time.monotonic() - began)

    def refuse_new_work(self) -> None:
        """Only Motor's admission can refuse; the driver's own clients are in the user's hands."""

    def release(self) -> None:
        """Let go of what served the closed client."""


class PyMongoSyncHandle(BlockingHandle):
    """The twin's handle."""

    backend = "pymongo"
    client: MongoClient[dict[str, Any]]

    def start(self, timeout: float, *, warm_up: bool, unless: Future[None]) -> None:
        """Connect, ping, and warm up if asked, within ``timeout`` seconds, or until ``unless`` is done.

        On a thread of its own, because the driver's deadline does not cover name resolution.
        """
        starting = in_daemon_thread(f"{self.pool}-start", lambda: self.start_blocking(timeout, warm_up=warm_up))
        seconds = timeout - margin(timeout)
        wait((starting, unless), seconds, return_when=FIRST_COMPLETED)
        if not starting.done() and not unless.done():
            wake_client(self)
            wait((starting, unless), timeout - seconds, return_when=FIRST_COMPLETED)
        if unless.done():
            raise PoolClosingError.of(self.pool)
        if not starting.done():
            raise self.start_timed_out(timeout)
        starting.result()

    def look(self, timeout: float, *, server: bool = False) -> dict[str, Any] | None:
        """Ping, ask for the version where it is not known, and for the server's connections if told to."""
        looking = in_daemon_thread(f"{self.pool}-look", lambda: self.look_blocking(timeout, server=server))
        wait((looking,), timeout)
        if not looking.done():
            raise TimeoutError
        return looking.result()

    def examine(self, *, server: bool) -> Findings:
        """Look at the server, within the bound of ``get_pool_stats``; never raises."""
        try:
            if self.judged_by_heartbeats():
                return Findings.from_heartbeats(server=server)
            return Findings(None, self.look(STATS_BOUND * LOOK_SHARE, server=server))
        except Exception as error:
            return Findings.of_failure(error, self, server=server)


def create(pool: str, settings: ClientSettings) -> PyMongoSyncHandle:
    """Make a client that has not connected yet; no I/O.

    Raises:
        Exception: Whatever the driver's constructor finds wrong with the options.
    """
    handle = PyMongoSyncHandle(pool, settings)
    options = dict(settings.client_options)
    if settings.driver is not None:
        options["driver"] = settings.driver
    handle.client = MongoClient(settings.uri, connect=False, event_listeners=handle.listeners(), **options)
    handle.client.append_metadata(OUR_DRIVER)
    return handle
