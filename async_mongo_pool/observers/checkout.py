"""One connection that is checked out, and who has it."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

from async_mongo_pool.addresses import address_text

if TYPE_CHECKING:
    from async_mongo_pool.addresses import Address

    from .origins import Origin

__all__ = ["Checkout"]


class Checkout:
    """From the moment a connection is taken until it is given back.

    Args:
        place: The server's address and the driver's number for the connection.
        key: The task or thread that took it, as a number that tells it from others that live.
        origin: Who took it, and where.

    Attributes:
        since: When it was taken, by ``time.monotonic``.
        thread: The thread that took it, by ``threading.get_ident``.
        command: The command that began last on it; None before the first one.
        command_began: When that was.
        asked: Since it is slow, somebody asked to compare the client's counts with the driver's own pool.
        compared: That was done.
    """

    __slots__ = (
        "_open",
        "_untold",
        "asked",
        "command",
        "command_began",
        "compared",
        "key",
        "origin",
        "place",
        "since",
        "thread",
    )

    def __init__(self, place: tuple[Address, int], key: int, origin: Origin) -> None:
        self.place = place
        self.key = key
        self.origin = origin
        self.thread = threading.get_ident()
        self.command: str | None = None
        self.command_began = 0.0
        self.asked = False
        self.compared = False
        self._open = [None]
        self._untold = [None]
        self.since = monotonic()

    @property
    def server(self) -> str:
        """The server's address as text."""
        return address_text(self.place[0])

    @property
    def connection_id(self) -> int:
        """The driver's number for the connection."""
        return self.place[1]

    # The watch and the return of a connection may meet, and only one of them may tell.

    def end(self) -> bool:
        """Give it back: true for the first who does."""
        return _take(self._open)

    def tell(self) -> bool:
        """Tell of it: true for the first who does."""
        return _take(self._untold)

    @property
    def told(self) -> bool:
        """Whether somebody tells of it or has done so."""
        return not self._untold


def _take(ticket: list[None]) -> bool:
    try:
        # In one step, whatever other threads do.
        ticket.pop()
    except IndexError:
        return False
    return True
