"""Ports for servers: no two processes of this machine take the same one."""

from __future__ import annotations

import random
import socket

from async_mongo_pool.testing.errors import ServerError

__all__ = ["PortReservation"]

HOST = "127.0.0.1"
# Below the ranges from which Linux and macOS take the ports of outgoing connections: while a server is down
# for a restart, no connection of anybody can sit on its port.
_FIRST, _LAST = 20000, 32000
_ATTEMPTS = 200


class PortReservation:
    """A TCP port that is free and that no other process with a reservation will take.

    The mark of a reservation is the UDP port of the same number, bound as long as the reservation lasts:
    mongod does not use it, two cannot hold it, and it goes with the process, without a file left over.

    Args:
        port: The port to reserve. Default: a free one, drawn at random.

    Raises:
        ServerError: The port is taken, or no free one was found.
    """

    def __init__(self, port: int | None = None) -> None:
        candidates = [port] if port is not None else _drawn()
        for candidate in candidates:
            mark = _bound(socket.SOCK_DGRAM, candidate)
            if mark is None:
                continue
            probe = _bound(socket.SOCK_STREAM, candidate)
            if probe is not None:
                probe.close()
                self.port, self._mark = candidate, mark
                return
            mark.close()
        raise ServerError(f"no free port: tried {_described(candidates)} on {HOST}")

    def release(self) -> None:
        """Let others take the port."""
        self._mark.close()


def _drawn() -> list[int]:
    # Not the shared generator: tests that seed it alike would all draw the same ports.
    return random.SystemRandom().sample(range(_FIRST, _LAST), _ATTEMPTS)


def _bound(kind: socket.SocketKind, port: int) -> socket.socket | None:
    candidate = socket.socket(socket.AF_INET, kind)
    if kind is socket.SOCK_STREAM:
        # As mongod does: connections of a server that has ended linger on its port and are in nobody's way.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        candidate.bind((HOST, port))
    except OSError:
        candidate.close()
        return None
    return candidate


def _described(candidates: list[int]) -> str:
    return f"port {candidates[0]}" if len(candidates) == 1 else f"{len(candidates)} ports"
