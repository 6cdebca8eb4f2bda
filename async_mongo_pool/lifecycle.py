"""What both twins decide, without I/O: reuse, join, replace, retire, scopes, forks.

A ``Lifecycle`` is the state of one pool class. Its mutex is held for a few lines and never over a call into a
driver; whoever has to wait does so in a twin, on a future that this module hands out.
"""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from pymongo.errors import ServerSelectionTimeoutError

from .asking import AS_USUAL, Asking, Manner, Request
from .calls import Attempt, Call, Join, Lead, Reuse
from .config.options import describe as describe_value
from .diagnosis import is_unreachable
from .errors import PoolClosingError, PoolConfigurationConflict, PoolConfigurationError, PoolLoopError
from .loops import LoopLocks, describe, is_gone

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Hashable, Iterator
    from concurrent.futures import Future

    from .backends.handle import ClientHandle
    from .config import ClientSettings

__all__ = ["JOIN_GRACE", "Attempt", "Join", "Lead", "Lifecycle", "Reuse"]

JOIN_GRACE = 0.5
"""Seconds beyond its own timeout that a caller waits for the attempt it shares to report how it ended."""

_REMEMBERED_SPELLINGS = 8
"""How many ways of asking for the open configuration are recognised without resolving them again."""


class _Opened:
    """The open client, in one object so that the fast path reads a consistent whole without a lock."""

    __slots__ = ("client", "handle", "key", "loop", "serial", "spellings")

    def __init__(self, handle: ClientHandle, asking: Asking, key: Hashable, serial: int) -> None:
        self.handle = handle
        self.serial = serial
        self.client = handle.client
        self.loop = handle.loop
        self.key = key
        self.spellings: tuple[Request, ...] = ()
        self.recognise(asking.request)

    def recognise(self, request: Request) -> None:
        """Know this way of asking next time; lists are copied, so that a later change to them is seen."""
        copied = {
            name: list(value) if isinstance(value, list) else value for name, value in request.options.items()
        }
        spelling = request._replace(options=copied)
        if spelling not in self.spellings:
            self.spellings = (spelling, *self.spellings[: _REMEMBERED_SPELLINGS - 1])


_opening_order = itertools.count(1)


class Lifecycle:
    """The state of one pool class and every decision about it.

    Args:
        name: The pool's name, for errors, logs and threads.
        backend: The backend that is used when a call names none.
        backends: All that this twin knows.

    Raises:
        PoolConfigurationError: The backend is not one of these.
    """

    def __init__(self, name: str, backend: str, backends: tuple[str, ...]) -> None:
        self.name = name
        self._backends = backends
        self.backend = self._known(backend)
        self.replacements = 0
        self.opened_order = 0
        self._configured: Request | None = None
        self._remembered: Request | None = None
        self._start_afresh()

    def _start_afresh(self) -> None:
        # Re-entrant, because a signal handler may close the pool while this very thread holds it.
        self.mutex = threading.RLock()
        self.locks = LoopLocks()
        self.thread_lock = threading.RLock()
        self.opened: _Opened | None = None
        self.retired: list[ClientHandle] = []
        self.closing: list[ClientHandle] = []
        self._attempt: Attempt | None = None
        self._abandoned: list[ClientHandle] = []
        self._serials = itertools.count(1)
        self._last_serial = 0
        self._failure: tuple[Attempt, Exception] | None = None
        self._epoch = object()
        self._calls: set[Call] = set()
        self._scopes = 0
        self._opened_by_scope = False

    # Reading

    def reuse(self, asked: Request, here: AbstractEventLoop | None) -> Any:
        """The open client if it is just what was asked for, without a lock; else None."""
        opened = self.opened
        if opened is None or (opened.loop is not None and opened.loop is not here) or opened.handle.is_closed():
            return None
        if asked in opened.spellings or asked.is_empty():
            return opened.client
        return None

    def client_for(self, here: AbstractEventLoop | None) -> Any:
        """The open client unless its event loop is gone; never raises."""
        opened = self.opened
        if opened is None:
            return None
        if opened.loop is None or opened.loop is here:
            return opened.client
        gone = opened.loop.is_closed() or (here is not None and not opened.loop.is_running())
        return None if gone else opened.client

    def handle(self) -> ClientHandle | None:
        """The handle of the open client."""
        opened = self.opened
        return None if opened is None else opened.handle

    # Opening

    def configure(self, request: Request) -> None:
        """Remember a configuration for a later ``initialize()`` without arguments, and check it now."""
        Asking(request, self._known(request.backend or self.backend))
        self._configured = request

    def ask(self, request: Request, manner: Manner = AS_USUAL) -> Asking:
        """Complete a request from what is remembered, and resolve it."""
        remembered = self._remembered or self._configured
        if remembered is not None and request.is_empty():
            request = remembered
        elif remembered is not None and (manner.fresh or request.connection is None):
            request = request.completed_by(remembered)
        return Asking(request, self._known(request.backend or self.backend), manner)

    @contextmanager
    def calling(self, here: AbstractEventLoop | None, ticket: object | None = None) -> Iterator[Call]:
        """Know of a call that may open the pool, for as long as it is under way.

        Args:
            here: The caller's event loop, None in the twin.
            ticket: A scope's, which opens or shares, and never replaces.
        """
        with self.mutex:
            call = Call(ticket or self._epoch, self._last_serial, ticket is not None, here)
            self._calls.add(call)
        try:
            yield call
        finally:
            with self.mutex:
                self._calls.discard(call)

    def arrival(self) -> int:
        """A serial number: failures of attempts with it or a later one happened during the caller's call."""
        with self.mutex:
            attempt = self._under_way()
            return attempt.serial if attempt else self._last_serial + 1

    def claim(self, asking: Asking, arrival: int, deadline: float, call: Call) -> Reuse | Join | Lead:
        """Decide what a caller of ``initialize``, ``rotate`` or ``scope`` does next.

        Args:
            asking: What the caller asks for.
            arrival: What ``arrival()`` returned when the call began.
            deadline: When the caller gives up, by the monotonic clock.
            call: The call.

        Raises:
            PoolClosingError: The pool was closed since the call began.
            PoolConfigurationConflict: A scope asks for something else than the open configuration.
            PoolLoopError: The client belongs to a loop that is alive elsewhere.
            Exception: An attempt that the caller waited for, with an equal configuration, failed with this.
        """
        with self.mutex:
            if call.epoch is not self._epoch:
                raise PoolClosingError.of(self.name)
            opened = self.opened
            if opened is not None and self._is_dead(opened, call.loop):
                opened = None
            if opened is not None:
                if self._equal(opened, asking, call):
                    opened.recognise(asking.request)
                    return Reuse(opened.handle)
                if call.by_scope:
                    raise self._conflict(opened, asking)
            if (error := self._shared_failure(asking, arrival, deadline)) is not None:
                raise error from None
            if (attempt := self._under_way()) is not None:
                return Join(attempt)
            dead = self._abandoned
            if self.opened is not None and opened is None:
                dead = [*dead, self.opened.handle]
                self.opened = None
            self.closing.extend(dead)
            self._abandoned = []
            self._last_serial = next(self._serials)
            self._attempt = Attempt(self._last_serial, asking.key, call.by_scope, deadline, call.loop)
            return Lead(self._attempt, tuple(dead))

    def opened_alike(self, asking: Asking, settings: ClientSettings) -> ClientHandle | None:
        """The open handle if a callable has returned just what is open."""
        with self.mutex:
            opened = self.opened
            if asking.manner.fresh or opened is None or opened.key != (asking.backend, settings.key):
                return None
            opened.recognise(asking.request)
            return opened.handle

    def may_open_degraded(self, asking: Asking) -> bool:
        """Whether a client without a server is better than none: not while another one serves."""
        return asking.manner.degraded and self.opened is None

    def publish(self, attempt: Attempt, asking: Asking, handle: ClientHandle) -> ClientHandle | None:
        """Make a started client the pool's; the one it replaces is returned, to be retired.

        Raises:
            PoolClosingError: The pool was closed meanwhile; the new client is not wanted.
        """
        with self.mutex:
            if attempt.unwanted.done():
                raise PoolClosingError.of(self.name)
            key = (asking.backend, handle.settings.key)
            before, self.opened = self.opened, _Opened(handle, asking, key, attempt.serial)
            self.opened_order = next(_opening_order)
            self._remembered = asking.request
            self._failure = None
            if before is None:
                self._opened_by_scope = attempt.by_scope
                return None
            self.replacements += 1
            self.retired.append(before.handle)
            return before.handle

    def settle(self, attempt: Attempt, error: Exception | None = None) -> None:
        """End an attempt: published, failed with ``error``, or given up (cancelled: the next caller leads)."""
        with self.mutex:
            if self._attempt is attempt:
                self._attempt = None
            if error is not None and not attempt.unwanted.done():
                self._failure = (attempt, _copy_of(error))
            _complete(attempt.done)

    # Closing

    def detach(self) -> list[ClientHandle]:
        """Take everything off the pool that is to be closed; from here on it is not initialized."""
        with self.mutex:
            return self._detach()

    def _detach(self) -> list[ClientHandle]:
        self._epoch = object()
        self._scopes = 0
        self._remembered = None
        self._failure = None
        if (attempt := self._under_way()) is not None:
            _complete(attempt.unwanted)
        calls, self._calls = self._calls, set()
        for call in calls:
            _complete(call.closed)
        opened, self.opened = self.opened, None
        handles = [*([opened.handle] if opened else []), *self.retired, *self._abandoned]
        self.retired, self._abandoned = [], []
        self.closing.extend(handles)
        return list(self.closing)

    def forget(self, handle: ClientHandle) -> bool:
        """Drop a handle whose client is closed; True when that was the last one."""
        with self.mutex:
            self.retired = [kept for kept in self.retired if kept is not handle]
            self.closing = [kept for kept in self.closing if kept is not handle]
            return self.opened is None and not self.retired and not self.closing

    # Scopes

    def enter_scope(self) -> object:
        """Count a scope; the ticket goes to ``leave_scope``."""
        with self.mutex:
            self._scopes += 1
            return self._epoch

    def leave_scope(self, ticket: object) -> list[ClientHandle]:
        """Count a scope out; the last one of a pool that a scope opened gets what is to be closed."""
        with self.mutex:
            if ticket is not self._epoch:
                # Closed, or forked, while the scope was open: its pool is gone already.
                return []
            self._scopes -= 1
            last = self._scopes == 0 and self._opened_by_scope and self.opened is not None
            # Under the same hold of the mutex, so that nobody enters a pool that is about to close.
            return self._detach() if last else []

    def is_idle(self) -> bool:
        """Whether nothing is open, being opened or being closed."""
        with self.mutex:
            opening = self._under_way() or any(call.is_alive() for call in self._calls)
            return not (self.opened or opening or self.retired or self.closing)

    # Processes

    def handles(self) -> list[ClientHandle]:
        """Every client of this pool that is not closed yet, one that is being opened too, without the lock."""
        owners = (self.opened, self._attempt)
        current = [owner.handle for owner in owners if owner is not None and owner.handle is not None]
        return [*current, *self.retired, *self.closing, *self._abandoned]

    def settings(self) -> list[ClientSettings]:
        """The configurations of these clients."""
        return [each.settings for each in self.handles()]

    def after_fork_in_child(self) -> list[ClientHandle]:
        """Start afresh in a child process; the inherited handles are returned, to be kept and never touched.

        New locks and no waiting: another thread of the parent may have held ours at the fork.
        """
        inherited = self.handles()
        self.replacements = 0
        self._start_afresh()
        return inherited

    # Pieces

    def _under_way(self) -> Attempt | None:
        """The attempt in flight; one whose event loop has ended is given up, as nobody there will settle it."""
        attempt = self._attempt
        if attempt is not None and attempt.loop is not None and is_gone(attempt.loop):
            _complete(attempt.unwanted)
            self._abandoned.extend([attempt.handle] if attempt.handle is not None else [])
            self.settle(attempt)
        return self._attempt

    def _is_dead(self, opened: _Opened, here: AbstractEventLoop | None) -> bool:
        """Whether the client's loop is gone, or somebody closed it behind our back: it counts as not open."""
        if opened.handle.is_closed():
            return True
        if opened.loop is None or opened.loop is here:
            return False
        if is_gone(opened.loop):
            return True
        raise PoolLoopError.elsewhere(self.name, describe(opened.loop), describe(here))

    def _shared_failure(self, asking: Asking, arrival: int, deadline: float) -> Exception | None:
        """How an attempt with an equal configuration failed that was under way during the caller's call."""
        if self._failure is None:
            return None
        failed, error = self._failure
        if failed.serial < arrival or failed.key != asking.key:
            return None
        if self.may_open_degraded(asking) and is_unreachable(error):
            return None
        # Somebody with more patience than the attempt had tries again.
        out_of_time = isinstance(error, ServerSelectionTimeoutError) or getattr(error, "timeout", False)
        return None if out_of_time and deadline > failed.deadline + JOIN_GRACE else _copy_of(error)

    def _known(self, backend: str) -> str:
        if backend not in self._backends:
            known = " or ".join(repr(name) for name in self._backends)
            raise PoolConfigurationError(f"backend={describe_value(backend)} is not known here: use {known}.")
        return backend

    def _equal(self, opened: _Opened, asking: Asking, call: Call) -> bool:
        if asking.manner.fresh and opened.serial <= call.serial:
            # Whoever wants a new client is content with one that somebody has begun to open since.
            return False
        # A callable has no settings before it is called, but the same way of asking means the same.
        return opened.key == asking.key or asking.request in opened.spellings

    def _conflict(self, opened: _Opened, asking: Asking) -> PoolConfigurationConflict:
        differing = list(opened.handle.settings.differing(cast("ClientSettings", asking.settings)))
        if opened.handle.backend != asking.backend:
            differing.append("backend")
        return PoolConfigurationConflict.between(self.name, differing)


def _complete(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _copy_of(error: Exception) -> Exception:
    """A fresh object to raise: one shared by a thousand callers would collect all their tracebacks."""
    try:
        copied = type(error)(*error.args)
        copied.__dict__.update(error.__dict__)
        return copied if str(copied) == str(error) else error
    except Exception:
        # A class of the user's that is not made from its arguments alone.
        return error
