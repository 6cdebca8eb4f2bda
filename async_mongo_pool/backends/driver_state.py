"""Looks into the drivers' own state, where no public name tells: each one guarded.

These functions read private attributes of PyMongo and survive their absence: the answer is then None, or
nothing is done, and the caller falls back on what events tell.
"""

from __future__ import annotations

import gc
import os
import socket
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.command_cursor import AsyncCommandCursor, AsyncRawBatchCommandCursor
from pymongo.asynchronous.cursor import AsyncCursor, AsyncRawBatchCursor
from pymongo.asynchronous.pool import AsyncConnection
from pymongo.errors import InvalidOperation
from pymongo.synchronous.client_session import ClientSession
from pymongo.synchronous.command_cursor import CommandCursor, RawBatchCommandCursor
from pymongo.synchronous.cursor import Cursor, RawBatchCursor
from pymongo.synchronous.pool import Connection

from async_mongo_pool.counters import DriverPool
from async_mongo_pool.loops import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from async_mongo_pool.addresses import Address

__all__ = [
    "checked_out",
    "disown_sockets",
    "fill_pools",
    "has_open_transaction",
    "has_unfinished_handle",
    "interrupt_operations",
    "is_closed",
    "parts_before_fork",
    "pools_now",
    "shut_sockets",
    "stay_closed",
    "waits_for_srv",
]

_SESSIONS = frozenset({ClientSession, AsyncClientSession})
_CURSORS = frozenset(
    {
        Cursor,
        RawBatchCursor,
        CommandCursor,
        RawBatchCommandCursor,
        AsyncCursor,
        AsyncRawBatchCursor,
        AsyncCommandCursor,
        AsyncRawBatchCommandCursor,
    }
)
_CONNECTIONS = frozenset({Connection, AsyncConnection})


def checked_out(client: Any) -> list[int] | None:
    """The connections handed out by each of the driver's pools; None where the driver does not tell."""
    counts = [getattr(pool, "active_sockets", None) for pool in _pools(client)]
    known = [count for count in counts if isinstance(count, int)]
    return known if counts and len(known) == len(counts) else None


def pools_now(client: Any, agrees: Callable[..., bool] = lambda *_: False) -> dict[Address, DriverPool]:
    """What the driver's pools hold, by the address of their server; those that do not tell are left out.

    Args:
        client: The driver's.
        agrees: Tells of an address, the number of idle connections, and ``placed``, ``connecting``, ``reserved``
            and ``asked`` of ``DriverPool`` whether these are known; then that pool is left out as well.
    """
    found = {}
    for pool in _pools(client):
        with suppress(AttributeError, TypeError, RuntimeError):
            counts = (pool.active_sockets, pool._pending, pool.requests, pool.operation_count)
            if agrees(pool.address, len(pool.conns), *counts):
                continue
            idle = frozenset([connection.id for connection in pool.conns])
            entering = len(getattr(pool.lock, "_waiters", None) or ())
            if all(isinstance(count, int) for count in counts):
                found[pool.address] = DriverPool(idle, *counts, entering)
    return found


def has_unfinished_handle(client: Any) -> bool:
    """Whether someone still holds a session that has not ended or a cursor that is not exhausted.

    Neither holds a connection between its calls, so no event tells of them. The garbage collector knows every
    such object; asking it costs milliseconds, which is why only a retired client is asked about, and seldom.
    """
    return any(True for _ in _open_sessions(client)) or any(
        cursor.alive for cursor in _instances(_CURSORS) if _client_of_cursor(cursor) is client
    )


def has_open_transaction(client: Any) -> bool:
    """Whether a transaction was begun on this client that is neither committed nor aborted."""
    return any(session.in_transaction for session in _open_sessions(client))


def is_closed(client: Any) -> bool:
    """Whether ``close()`` of this client has run, whoever called it."""
    return getattr(client, "_closed", False) is True


def interrupt_operations(client: Any) -> None:
    """Make operations that wait for a server give up: the driver polls a cancel flag every 0.5 s."""
    for pool in _pools(client):
        for context in tuple(getattr(pool, "active_contexts", ())):
            context.cancel()


def fill_pools(client: Any) -> Any:
    """Start at once what the driver does each second: open connections up to minPoolSize.

    Returns:
        Whatever the driver's method returns: an awaitable for an asynchronous client, else None.
    """
    update_pool = getattr(getattr(client, "_topology", None), "update_pool", None)
    return update_pool() if update_pool is not None else None


def waits_for_srv(client: Any) -> bool:
    """Whether the servers of a ``mongodb+srv`` address are not known yet: the first call asks for them."""
    info = getattr(client, "_resolve_srv_info", None) or {}
    return bool(info.get("is_srv")) and getattr(client, "_topology", client) is None


def stay_closed(client: Any) -> None:
    """For a client closed before its SRV record is known: a call under way would open it with the answer."""

    def refuse() -> None:
        raise InvalidOperation("Cannot use MongoClient after close")

    if waits_for_srv(client):
        client._init_background = refuse


def shut_sockets(client: Any) -> None:
    """Shut every socket of an AsyncMongoClient whose event loop is gone, so that the server sees them end.

    Its own ``close()`` refuses to run outside its loop. The client counts as closed from here on.
    """
    with suppress(Exception):
        client._closed = True
    for connection in _connections([client]):
        # Each on its own: a socket that was shut before cannot be shut again, but still has to be freed.
        with suppress(Exception):
            _shut(connection.conn.sock)
        with suppress(Exception):
            _release(connection.conn.conn[0])


def parts_before_fork(client: Any) -> SimpleNamespace:
    """Everything a client consists of now: in the child, the driver's own hook replaces some of it."""
    return SimpleNamespace(**vars(client))


def disown_sockets(parts: Sequence[SimpleNamespace]) -> None:
    """In a forked child: let go of the sockets that the parent's clients have, without a word to their server.

    Otherwise the server would keep each connection, after the parent has closed it, until the child ends.

    Args:
        parts: What ``parts_before_fork`` returned; whoever calls keeps it alive.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        for connection in _connections(parts):
            with suppress(Exception):
                # Put into the socket's place, because its owners may close the descriptor at any later time.
                os.dup2(nothing, connection.conn.sock.fileno(), inheritable=False)
    finally:
        os.close(nothing)


def _release(transport: Any) -> None:
    """Free the socket of a transport: once its loop is closed, it does so itself only when it is collected."""
    if transport._loop.is_closed():
        transport._sock.close()
        transport._sock = None
    elif transport._loop is running_loop():
        transport.abort()


def _shut(wrapped: Any) -> None:
    # Event loops hand out wrappers of their sockets, on which shutdown() may be missing (uvloop).
    duplicate = socket.socket(fileno=socket.dup(wrapped.fileno()))
    try:
        duplicate.shutdown(socket.SHUT_RDWR)
    finally:
        duplicate.close()


def _servers(client: Any) -> list[Any]:
    return list(getattr(getattr(client, "_topology", None), "_servers", {}).values())


def _pools(client: Any) -> list[Any]:
    return [server.pool for server in _servers(client) if hasattr(server, "pool")]


def _monitor_pools(client: Any) -> Iterator[Any]:
    for server in _servers(client):
        monitor = getattr(server, "_monitor", None)
        for owner in (monitor, getattr(monitor, "_rtt_monitor", None)):
            pool = getattr(owner, "_pool", None)
            if pool is not None:
                yield pool


def _connections(clients: Sequence[Any]) -> Iterator[Any]:
    """The connections of these clients, their monitors' included."""
    pools = {id(pool) for client in clients for pool in (*_pools(client), *_monitor_pools(client))}
    for connection in _instances(_CONNECTIONS) if pools else ():
        pool_ref = getattr(connection, "pool_ref", None)
        if pool_ref is not None and id(pool_ref()) in pools:
            yield connection


def _open_sessions(client: Any) -> Iterator[Any]:
    for session in _instances(_SESSIONS):
        if session.client is client and not session.has_ended:
            yield session


def _client_of_cursor(cursor: Any) -> Any:
    collection = getattr(cursor, "_collection", None)
    return None if collection is None else collection.database.client


def _instances(classes: frozenset[type]) -> Iterator[Any]:
    wanted = {id(wanted_class) for wanted_class in classes}
    for candidate in gc.get_objects():
        # By identity: comparing or hashing would call into whatever metaclasses live in this process.
        if id(type(candidate)) in wanted:
            yield candidate
