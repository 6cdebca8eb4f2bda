"""``top``: a pool of one's own, drawn again and again while it works."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from async_mongo_pool.cli.demo import sentence
from async_mongo_pool.cli.interrupt import cancel_on_interrupt
from async_mongo_pool.cli.own_server import own_server
from async_mongo_pool.cli.top_frame import View
from async_mongo_pool.cli.top_load import OPTIONS, Load
from async_mongo_pool.cli.top_screen import Notes, TopScreen
from async_mongo_pool.cli.watched import CLIENTS, Watched
from async_mongo_pool.testing import ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from async_mongo_pool.cli.watched import Choice
    from async_mongo_pool.stats import PoolSnapshot

__all__ = ["Watch", "run"]

_HISTORY = 200

_PROBE = {"maxPoolSize": 5, "minPoolSize": 0}
_ALWAYS = {
    "appName": "async-mongo-pool-top",
    "command_stats": True,
    "heartbeat_stats": True,
    # Heartbeats that are answered at once tell how far away the server is, also while every connection is busy.
    "serverMonitoringMode": "poll",
    "heartbeatFrequencyMS": 1000,
}


@dataclass(frozen=True, slots=True)
class Watch:
    """What was asked for on the command line.

    Attributes:
        uri: An existing server; None for one of our own with a load. It may hold a password.
        backend: Whose client.
        interval: Seconds between two pictures.
        duration: Seconds for everything; None until Ctrl-C.
        once: Whether there is only one picture.
        as_json: Whether to write JSON instead of pictures.
    """

    uri: str | None = field(repr=False)
    backend: Choice
    interval: float
    duration: float | None
    once: bool
    as_json: bool


def run(watch: Watch) -> int:
    """Watch, and return the exit code: 0, also after Ctrl-C; 1 when no server could be reached."""
    screen, notes = TopScreen(quiet=watch.as_json), Notes()
    logging.getLogger("async_mongo_pool").addHandler(notes)
    # The driver logs, with tracebacks, what is counted here or told in a sentence.
    logging.getLogger("pymongo").addHandler(logging.NullHandler())
    try:
        asyncio.run(_watch(watch, screen, notes))
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    except BrokenPipeError:
        # Whoever read this has seen enough; the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (PyMongoError, ServerError, OSError) as error:
        screen.complain(sentence(error))
        return 1
    return 0


async def _watch(watch: Watch, screen: TopScreen, notes: Notes) -> None:
    # Also when it is told to end, as by `timeout`: the terminal is to be given back.
    cancel_on_interrupt(screen.restore, exit_code=0, signals=(signal.SIGINT, signal.SIGTERM))
    watched = Watched(watch.backend, "top")
    async with _server(watch, screen) as uri:
        try:
            async with screen.progress("Connecting"):
                await watched.open(uri, **(_PROBE if watch.uri else OPTIONS), **_ALWAYS)
            load = None if watch.uri else Load(watched)
            if load is not None:
                await load.prepare()
            async with _beside(load.run()) if load else _nothing():
                await _Session(watch, watched, screen, notes, load).run()
        finally:
            await watched.close()


@asynccontextmanager
async def _server(watch: Watch, screen: TopScreen) -> AsyncIterator[str]:
    if watch.uri is not None:
        yield watch.uri
        return
    async with own_server(screen.progress("Starting a MongoDB")) as uri:
        yield uri


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Something that goes on for as long as the block takes."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=1)


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


class _Session:
    """One run: what was seen so far, and the server's last answer."""

    def __init__(self, watch: Watch, watched: Watched, screen: TopScreen, notes: Notes, load: Load | None) -> None:
        self._watch = watch
        self._watched = watched
        self._screen = screen
        self._notes = notes
        self._load = load
        self._stats: dict[str, Any] = {}
        self._asked_at: float | None = None
        self._previous: PoolSnapshot | None = None
        self._used: deque[int] = deque(maxlen=_HISTORY)
        self._waiting: deque[int] = deque(maxlen=_HISTORY)

    async def run(self) -> None:
        """Draw until it is enough."""
        if self._load is not None and self._watch.once:
            # A load that has only just begun shows nothing.
            await asyncio.sleep(self._watch.interval)
        if self._watch.as_json:
            await self._repeat(self._line)
            return
        await self._ask()
        async with _beside(self._keep_asking()) as asking:
            with self._screen.drawing(once=self._watch.once):
                await self._repeat(lambda: self._picture(asking))

    async def _repeat(self, refresh: Any) -> None:
        began = time.monotonic()
        while True:
            due = time.monotonic() + self._watch.interval
            await refresh()
            now = time.monotonic()
            end = began + self._watch.duration if self._watch.duration is not None else None
            if self._watch.once or (end is not None and now >= end):
                return
            await asyncio.sleep(max((due if end is None else min(due, end)) - now, 0))

    async def _line(self) -> None:
        self._screen.show_line(await self._watched.stats())

    async def _picture(self, asking: asyncio.Task[None]) -> None:
        if asking.done():
            asking.result()
        snapshot = self._watched.snapshot()
        self._used.append(snapshot.totals.used)
        self._waiting.append(snapshot.totals.waiting)
        self._screen.show(
            View(
                client=CLIENTS[self._watch.backend],
                snapshot=snapshot,
                delta=snapshot if self._previous is None else snapshot.since(self._previous),
                stats=self._stats,
                silent_seconds=0.0 if self._asked_at is None else time.monotonic() - self._asked_at,
                holders=self._watched.holders(),
                used=self._used,
                waiting=self._waiting,
                doing=self._load.doing if self._load is not None else "",
                note=self._notes.current(),
            )
        )
        self._previous = snapshot

    async def _keep_asking(self) -> None:
        """Ask the server beside the drawing, which goes on while a frozen one is waited for."""
        while True:
            await asyncio.sleep(self._watch.interval)
            await self._ask()

    async def _ask(self) -> None:
        self._asked_at = time.monotonic()
        self._stats = await self._watched.stats()
        self._asked_at = None
