"""Forks and exits: what happens to open pools when the process is copied or ends."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from .backends import driver_state
from .observers import log_thread

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import SimpleNamespace

    from .backends.handle import ClientHandle
    from .lifecycle import Lifecycle

__all__ = ["copy_of", "keep_open", "let_go", "register"]

T = TypeVar("T")

EXIT_BUDGET = 1.0
"""Seconds that an exiting process waits for running operations, over all pools."""

_all: weakref.WeakSet[Lifecycle] = weakref.WeakSet()
_open: set[Lifecycle] = set()
"""Open pools are kept alive here even when their class is not: their clients have to be closed."""

_inherited: list[ClientHandle] = []
"""Clients of the parent process: never used, never closed, and never collected, which would close them."""

_forking: dict[int, list[SimpleNamespace]] = {}
"""What the clients consist of, by the thread that forks them."""

_inherited_parts: list[SimpleNamespace] = []
"""Their parts in the parent, kept as they are kept: collecting an inherited task or transport is noisy."""


def register(lifecycle: Lifecycle) -> None:
    """Let a pool take part in forks."""
    _all.add(lifecycle)


def copy_of(kept: Iterable[T]) -> list[T]:
    """What a set holds that other threads change."""
    while True:
        try:
            return list(kept)
        except RuntimeError:
            # It was changed meanwhile. That is rare, so the next look succeeds.
            continue


def keep_open(lifecycle: Lifecycle) -> None:
    """Let an open pool take part in the exit of the process."""
    _open.add(lifecycle)


def let_go(lifecycle: Lifecycle) -> None:
    """The pool is closed."""
    _open.discard(lifecycle)


def _everything() -> set[Lifecycle]:
    # Other threads make, open and close pools meanwhile.
    return {*copy_of(_all), *copy_of(_open)}


def _before_fork() -> None:
    handles = [handle for lifecycle in _everything() for handle in lifecycle.handles()]
    _forking[threading.get_ident()] = [driver_state.parts_before_fork(handle.driver_client) for handle in handles]


def _after_fork_in_parent() -> None:
    _forking.pop(threading.get_ident(), None)


def _after_fork_in_child() -> None:
    for lifecycle in _everything():
        _inherited.extend(lifecycle.after_fork_in_child())
    _open.clear()
    parts = _forking.pop(threading.get_ident(), [])
    if parts:
        _inherited_parts.extend(parts)
        _never_collect((_inherited, _inherited_parts))
        driver_state.disown_sockets(parts)


def _never_collect(kept: object) -> None:
    """Keep an object beyond the end of the interpreter, which drops what modules hold."""
    with suppress(ImportError, AttributeError):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


def _at_exit() -> None:
    """Close what is open, side by side, within one budget; the daemon threads that do it die with us."""
    deadline = time.monotonic() + EXIT_BUDGET
    closings = []
    for handle in [handle for lifecycle in _everything() for handle in lifecycle.detach()]:
        # Where no thread can be started any more, each closing is over when it returns: they share the budget.
        left = max(deadline - time.monotonic(), 0)
        # Whatever is wrong with one of them, the others are to be closed.
        with suppress(Exception):
            closings.append(handle.finish(drain=left * 0.7, timeout=left * 0.9))
    for closing in closings:
        while not closing.done() and time.monotonic() < deadline:
            time.sleep(0.005)
    # After them, because closing says something too.
    log_thread.say_everything()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
