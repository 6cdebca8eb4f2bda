"""Moving bytes one way, as late, as slowly or as little as it was ordered."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Direction", "Pump", "abort", "close"]

CHUNK = 65536
QUEUED_CHUNKS = 64
TRICKLES_PER_SECOND = 20


@dataclass
class Direction:
    """What happens to bytes on their way in one direction.

    Attributes:
        delay: Seconds that each byte is late.
        rate: Bytes per second at most for each connection; None for no limit.
        swallow: Whether they vanish.
    """

    delay: float = 0.0
    rate: float | None = None
    swallow: bool = False


class Pump:
    """One direction of one connection.

    Args:
        source: Where bytes come from.
        target: Where they go.
        direction: The orders, which may change at any time.
        listens: Clear while nothing is to be read.
    """

    def __init__(
        self, source: socket.socket, target: socket.socket, direction: Direction, listens: asyncio.Event
    ) -> None:
        self.opening = b""
        self.passed = 0
        self.swallowed = 0
        self._source = source
        self._target = target
        self._direction = direction
        self._listens = listens
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_CHUNKS)

    async def run(self) -> None:
        """Move bytes until the source has ended and all are delivered.

        Raises:
            OSError: One side has reset the connection.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._listens.wait()
            data = await loop.sock_recv(self._source, CHUNK)
            self.opening = self.opening or data
            # Stopped while it waited: these bytes are delivered after all, but not before it is over.
            await self._listens.wait()
            await self._queue.put((loop.time() + self._direction.delay, data))
            if not data:
                return

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._queue.get()
            if (late := due - loop.time()) > 0:
                await asyncio.sleep(late)
            if self._direction.swallow or self.swallowed:
                # Once bytes are missing, none may follow: a gap in the stream is no fault of a network.
                self.swallowed += len(data) or 1
                if not data:
                    # Whoever is behind the blackhole does not learn that the other side has gone.
                    await asyncio.Event().wait()
                continue
            if not data:
                with suppress(OSError):
                    self._target.shutdown(socket.SHUT_WR)
                return
            await self._deliver(data)

    async def _deliver(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while data:
            if self._direction.swallow:
                self.swallowed += len(data)
                return
            rate = self._direction.rate
            piece = data if rate is None else data[: max(1, int(rate / TRICKLES_PER_SECOND))]
            await loop.sock_sendall(self._target, piece)
            self.passed += len(piece)
            data = data[len(piece) :]
            if rate is not None:
                await asyncio.sleep(len(piece) / rate)


def abort(connection: socket.socket) -> None:
    """Close with a reset (RST) instead of an orderly end (FIN)."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    close(connection)


def close(connection: socket.socket) -> None:
    """Close, whatever state it is in."""
    with suppress(OSError):
        connection.close()
