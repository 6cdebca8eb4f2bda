"""A TCP proxy that fails on demand: it stands between clients and a server, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

from async_mongo_pool.testing.ports import HOST, PortReservation

from .pump import Direction, Pump, abort, close

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

__all__ = ["Counts", "FaultProxy"]

T = TypeVar("T")

MOST_CONNECTIONS = 2000
CONTROL_LIMIT = 10.0
CONNECT_LIMIT = 5.0
BACKLOG = 1024
# Linux keeps one connection more than the backlog says; a second one finds the queue full.
FILLERS = 2


@dataclass(frozen=True)
class Counts:
    """What has happened so far.

    Attributes:
        accepted: Connections that were accepted.
        live: Of these, those that exist now.
        reset: Of these, those that the proxy has reset.
        refused: Of these, those closed at once: the server could not be reached, or too many were open.
        to_server: Bytes delivered to the server, on connections that exist now or have ended.
        to_client: Bytes delivered to clients, likewise.
        swallowed: Bytes that vanished in a blackhole, likewise; an end of a stream counts as one.
    """

    accepted: int
    live: int
    reset: int
    refused: int
    to_server: int
    to_client: int
    swallowed: int


class _Pair:
    """A client's connection and ours to the server, with the task that serves them."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.task: asyncio.Task[None] | None = None
        self.pumps: list[Pump] = []


class FaultProxy:
    """A context manager: entering starts it, leaving stops it, and nothing of it stays.

    Its calls may be made in any thread or event loop; each takes effect before it returns.

    Args:
        target: Host and port of the server.
        port: The proxy's own port on 127.0.0.1. Default: a free one.
    """

    def __init__(self, target: tuple[str, int], port: int | None = None) -> None:
        self._target = target
        self._fixed_port = port
        self._reservation: PortReservation | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event
        self._listens: asyncio.Event
        self._listener: socket.socket | None = None
        self._accepting = False
        self._fillers: list[socket.socket] = []
        self._to_server, self._to_client = Direction(), Direction()
        self._pairs: set[_Pair] = set()
        self._accepted = self._reset = self._refused = 0
        self._ended = [0, 0, 0]

    def __repr__(self) -> str:
        return f"<FaultProxy to {self._target[0]}:{self._target[1]}>"

    @property
    def host(self) -> str:
        return HOST

    @property
    def port(self) -> int:
        assert self._reservation is not None, "the proxy was not started"
        return self._reservation.port

    @property
    def uri(self) -> str:
        """A connection string for a standalone server."""
        return f"mongodb://{self.host}:{self.port}/"

    def start(self) -> Self:
        self._reservation = PortReservation(self._fixed_port)
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="fault-proxy", daemon=True)
        self._thread.start()
        try:
            ready.result(CONTROL_LIMIT)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it: every connection is reset. Nothing happens twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._over.set)
        thread.join(CONTROL_LIMIT)
        if self._reservation is not None:
            self._reservation.release()
        assert not thread.is_alive(), f"{self!r} did not end within {CONTROL_LIMIT:g} s"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Faults

    def latency(self, to_server: float = 0.0, to_client: float = 0.0) -> None:
        """Deliver every byte so many seconds later; as much as before passes in a second."""

        async def order() -> None:
            self._to_server.delay, self._to_client.delay = to_server, to_client

        self._call(order())

    def trickle(self, to_server: float | None = None, to_client: float | None = None) -> None:
        """Deliver so many bytes per second at most on each connection; None for no limit."""

        async def order() -> None:
            self._to_server.rate, self._to_client.rate = to_server, to_client

        self._call(order())

    def blackhole(self, *, to_server: bool = True, to_client: bool = True) -> None:
        """Accept connections and swallow what is sent; `heal` resets those on which something is missing."""

        async def order() -> None:
            self._to_server.swallow, self._to_client.swallow = to_server, to_client

        self._call(order())

    def deafen(self) -> None:
        """Accept connections and read nothing more; `heal` delivers what has been sent meanwhile."""

        async def order() -> None:
            self._listens.clear()

        self._call(order())

    def reset(self, sparing: bytes | None = None) -> int:
        """Reset connections (RST), and return how many they were; new ones are accepted.

        Args:
            sparing: Leave those alone whose client began with bytes in which these stand. Default: none.
        """

        async def order() -> int:
            return await self._reset_pairs({pair for pair in self._pairs if not _began_with(pair, sparing)})

        return self._call(order())

    def refuse(self) -> None:
        """Close the port: who connects is refused. The connections that exist stay; see `reset`."""
        self._call(self._close_listener())

    def stop_accepting(self) -> None:
        """Listen, and accept nothing: the backlog is full, so that connecting takes until its own time is up."""
        self._call(self._fill_backlog())

    def cut(self) -> None:
        """What the end of a host looks like from outside: connections are reset, new ones refused."""
        self.refuse()
        self.reset()

    def heal(self) -> None:
        """End every fault."""
        self._call(self._heal())

    def counts(self) -> Counts:
        async def look() -> Counts:
            passed = list(self._ended)
            for pair in self._pairs:
                for place, number in enumerate(_passed(pair)):
                    passed[place] += number
            return Counts(self._accepted, len(self._pairs), self._reset, self._refused, *passed)

        return self._call(look())

    # In the proxy's own thread

    def _run(self, ready: Future[None]) -> None:
        asyncio.run(self._main(ready))

    async def _main(self, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._over, self._listens = asyncio.Event(), asyncio.Event()
        self._listens.set()
        try:
            self._open_listener()
            ready.set_result(None)
            await self._over.wait()
        except Exception as error:
            ready.set_exception(error)
        finally:
            await self._close_listener()
            await self._reset_pairs(set(self._pairs))

    def _call(self, order: Coroutine[Any, Any, T]) -> T:
        if self._loop is None or self._thread is None:
            order.close()
            raise AssertionError(f"{self!r} does not run")
        return asyncio.run_coroutine_threadsafe(order, self._loop).result(CONTROL_LIMIT)

    def _open_listener(self) -> None:
        listener = self._listener = socket.socket()
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, self.port))
        self._accept_from(listener)

    def _accept_from(self, listener: socket.socket) -> None:
        listener.listen(BACKLOG)
        # Not a task around sock_accept(): cancelled at a bad moment, it would lose a connection.
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)
        self._accepting = True

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        client.setblocking(False)
        self._accepted += 1
        if len(self._pairs) >= MOST_CONNECTIONS:
            self._refused += 1
            abort(client)
            return
        pair = _Pair(client)
        self._pairs.add(pair)
        pair.task = asyncio.create_task(self._serve(pair))

    async def _serve(self, pair: _Pair) -> None:
        server = socket.socket()
        server.setblocking(False)
        orderly = False
        try:
            # Not wait_for(), which swallows a cancellation that meets the end of what it waits for (Python 3.11).
            async with asyncio.timeout(CONNECT_LIMIT):
                await asyncio.get_running_loop().sock_connect(server, self._target)
            for each in (pair.client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair.pumps = [
                Pump(pair.client, server, self._to_server, self._listens),
                Pump(server, pair.client, self._to_client, self._listens),
            ]
            async with asyncio.TaskGroup() as group:
                for pump in pair.pumps:
                    group.create_task(pump.run())
            orderly = True
        except* OSError:
            # A side has reset its connection, or (TimeoutError is one) there is no server: so does the proxy.
            if not pair.pumps:
                self._refused += 1
        finally:
            for each in (pair.client, server):
                (close if orderly else abort)(each)
            self._pairs.discard(pair)
            self._ended = [before + now for before, now in zip(self._ended, _passed(pair), strict=True)]

    def _stop_accepting(self) -> None:
        if self._accepting and self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
        self._accepting = False
        for filler in self._fillers:
            close(filler)
        self._fillers = []

    async def _close_listener(self) -> None:
        self._stop_accepting()
        if self._listener is not None:
            close(self._listener)
            self._listener = None

    async def _fill_backlog(self) -> None:
        self._stop_accepting()
        if self._listener is None:
            self._open_listener()
            self._stop_accepting()
        listener = self._listener
        assert listener is not None
        listener.listen(0)
        for _ in range(FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            self._fillers.append(filler)
            with suppress(BlockingIOError):
                filler.connect((HOST, self.port))

    async def _heal(self) -> None:
        for direction in (self._to_server, self._to_client):
            direction.delay, direction.rate, direction.swallow = 0.0, None, False
        await self._reset_pairs({pair for pair in self._pairs if any(pump.swallowed for pump in pair.pumps)})
        self._listens.set()
        if self._listener is None:
            self._open_listener()
        elif not self._accepting:
            self._stop_accepting()
            self._accept_from(self._listener)

    async def _reset_pairs(self, pairs: set[_Pair]) -> int:
        self._reset += len(pairs)
        tasks = [pair.task for pair in pairs if pair.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pair in pairs:
            # Those whose task had not begun yet.
            abort(pair.client)
            self._pairs.discard(pair)
        return len(pairs)


def _began_with(pair: _Pair, words: bytes | None) -> bool:
    return words is not None and bool(pair.pumps) and words in pair.pumps[0].opening


def _passed(pair: _Pair) -> list[int]:
    """Bytes to the server, to the client, and into a blackhole."""
    if not pair.pumps:
        return [0, 0, 0]
    there, back = pair.pumps
    return [there.passed, back.passed, there.swallowed + back.swallowed]
