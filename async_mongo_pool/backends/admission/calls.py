"""What a call of Motor's is about, read from its shape: pure, and on the path of every operation.

Motor hands over ``partial(context.run, method, owner, *arguments)``; for a few methods a closure or a bound
method stands in the place of ``method`` and ``owner``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pymongo.synchronous.client_session import ClientSession

_LatentCursor: Any
try:
    from motor.core import _LatentCursor
except ImportError:  # a private class
    _LatentCursor = ()

__all__ = [
    "CONTINUES",
    "FETCHES",
    "FINISHES",
    "NEW",
    "STREAMS",
    "UNSTARTED",
    "labels_of",
    "read_call",
]

NEW = 0
"""New work: refused while a pool drains."""
FINISHES = 1
"""Ends work begun before, or belongs to a transaction: ahead of everything; passes while a pool drains."""
STREAMS = 2
"""Waits on a change stream: it holds its worker until something happens, so it has no right of way."""
CONTINUES = 3
"""The same on a tailable cursor, which a draining pool lets go on like every open cursor."""
FETCHES = 5
"""Asks for more of an open cursor: ahead of new work, but in turns with it; passes while a pool drains."""
UNSTARTED = 4
"""Asks for more of an aggregate that has no cursor, because its first request failed (or still runs). Motor gets
nothing each time and asks again for ever."""

_ENDINGS = frozenset({"commit_transaction", "abort_transaction", "end_session", "close", "abort", "__exit__"})
_TAILABLE = 2  # the flag of the wire protocol, in Cursor._query_flags


def read_call(call: Any) -> tuple[int, ClientSession | None]:
    """What kind of work a call is, and the session whose transaction it belongs to.

    Args:
        call: What Motor hands to ``run_in_executor``.

    Returns:
        ``NEW``, ``FINISHES``, ``FETCHES``, ``STREAMS``, ``CONTINUES`` or ``UNSTARTED``, and a session in a
        transaction or None.
    """
    if not isinstance(call, partial) or not call.args:
        return NEW, None
    arguments = call.args
    method = arguments[0]
    owner = arguments[1] if len(arguments) > 1 else _owner_of(method)
    session = _in_transaction(arguments, call.keywords, owner)
    if session is not None:
        return FINISHES, session
    name = getattr(method, "__name__", "")
    if name == "inner":
        # Motor's CommandCursor.try_next; the only other closure makes a cursor and has none yet.
        owner, name = _cursor_in(method), "_refresh"
    if name == "_refresh":
        if not _is_open(owner):
            return (UNSTARTED if isinstance(owner, _LatentCursor) else NEW), None
        return (CONTINUES if _awaits_data(owner) else FETCHES), None
    if name in _ENDINGS:
        return FINISHES, None
    if name == "_try_next" and owner is not None and getattr(owner, "delegate", None) is not None:
        return STREAMS, None
    return NEW, None


def labels_of(call: Any, session: ClientSession | None) -> tuple[str, ...]:
    """The labels of an error for a call that could not begin: what the driver says when it finds no connection.

    Args:
        call: As for ``read_call``.
        session: What that said of it.
    """
    if session is None:
        return ()
    arguments: tuple[Any, ...] = getattr(call, "args", ())
    commits = bool(arguments) and getattr(arguments[0], "__name__", "") == "commit_transaction"
    return ("UnknownTransactionCommitResult",) if commits else ("TransientTransactionError",)


def _owner_of(method: Any) -> Any:
    return getattr(method, "__self__", None)


def _cursor_in(method: Any) -> Any:
    for cell in getattr(method, "__closure__", None) or ():
        delegate = getattr(cell.cell_contents, "delegate", None)
        if _is_open(delegate):
            return delegate
    return None


def _is_open(cursor: Any) -> bool:
    # A database has any attribute that it is asked for.
    cursor_id = getattr(cursor, "cursor_id", None)
    return isinstance(cursor_id, int) and cursor_id != 0


def _awaits_data(cursor: Any) -> bool:
    tailable = getattr(cursor, "_query_flags", 0) & _TAILABLE
    return bool(tailable) or getattr(cursor, "_max_await_time_ms", None) is not None


def _in_transaction(arguments: tuple[Any, ...], keywords: dict[str, Any], owner: Any) -> ClientSession | None:
    for argument in arguments:
        if isinstance(argument, ClientSession) and argument.in_transaction:
            return argument
    for argument in keywords.values():
        if isinstance(argument, ClientSession) and argument.in_transaction:
            return argument
    # Cursors and GridFS files keep the session that they were made with. Not getattr: a collection answers with
    # a sub-collection, or with an error that costs more than the rest of this function.
    session = getattr(owner, "__dict__", _NOTHING).get("_session")
    return session if isinstance(session, ClientSession) and session.in_transaction else None


_NOTHING: dict[str, Any] = {}
