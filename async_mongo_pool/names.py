"""Looking up host names before the driver does, because a lookup can be neither bounded nor interrupted.

With name servers that are silent the system's resolver takes up to half a minute, on whichever thread asks it.
The driver asks at each connection; AsyncMongoClient does so on the executor of the event loop, and ``asyncio.run``
waits in the end until all of that are back. So the names are looked up here first, on daemon threads, and the
driver begins when the resolver answers. What it answers is left to the driver, which knows what to do about it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from .config.uri import split
from .daemon import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NameLookup", "names_in"]

_running: dict[tuple[int, str], Future[bool]] = {}
"""The lookups under way, by process and name: who tries again waits for the same one, and no threads pile up."""


class NameLookup:
    """The names of one client, looked up side by side.

    Args:
        names: Host names, no addresses; there may be none.

    Attributes:
        enough: Done when one name was found, or when all were answered: the driver can begin.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.enough: Future[None] = Future()
        # From here on a cancelled waiter cancels nobody else.
        self.enough.set_running_or_notify_cancel()
        self._mutex = threading.Lock()
        self._silent = list(dict.fromkeys(names))
        if not self._silent:
            self.enough.set_result(None)
        for name in tuple(self._silent):
            _look_up(name).add_done_callback(partial(self._answered, name))

    @property
    def stage(self) -> str:
        """What takes so long, for an error."""
        return f"resolving the host name {' and '.join(self._silent)} (DNS)"

    def _answered(self, name: str, lookup: Future[bool]) -> None:
        with self._mutex:
            self._silent.remove(name)
            if (lookup.result() or not self._silent) and not self.enough.done():
                self.enough.set_result(None)


def names_in(uri: str) -> list[str]:
    """The host names of a connection string that the system's resolver has to look up.

    Args:
        uri: With or without credentials. Of a ``mongodb+srv`` one only the driver will know the hosts.
    """
    address = split(uri)
    if address.scheme == "mongodb+srv":
        return []
    return [host.name for host in address.hosts if host.port is not None and not _is_address(host.name)]


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False


def _look_up(name: str) -> Future[bool]:
    lookup: Future[bool] = Future()
    lookup.set_running_or_notify_cancel()
    key = (os.getpid(), name)
    # Atomic, so that of many who come at once one asks.
    if (running := _running.setdefault(key, lookup)) is not lookup:
        return running

    def ask() -> None:
        found = _is_found(name)
        del _running[key]
        lookup.set_result(found)

    try:
        in_daemon_thread("async_mongo_pool-lookup", ask)
    except RuntimeError:
        # No more threads, or the interpreter shuts down: the driver has to see for itself.
        del _running[key]
        lookup.set_result(True)
    return lookup


def _is_found(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except Exception:
        # The driver meets the same, and says so.
        return False
    return True
