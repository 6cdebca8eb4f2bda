"""From a pool class to an answer: what both twins of ``liveness`` and ``readiness`` share, without waiting."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Literal

from async_mongo_pool.config.options import describe
from async_mongo_pool.errors import PoolConfigurationError
from async_mongo_pool.loops import is_gone, running_loop

from .examiner import Examiner
from .judge import FALL, RISE, Terms
from .results import Liveness, Readiness

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Generator
    from concurrent.futures import Future

    from async_mongo_pool.backends.handle import ClientHandle
    from async_mongo_pool.lifecycle import Lifecycle

    from .results import Require, State

__all__ = ["check_seconds", "check_terms", "inquiry", "liveness_of", "without_a_look"]


def check_terms(require: Any, fall: Any = FALL, rise: Any = RISE) -> Terms:
    """The terms of a prober.

    Raises:
        PoolConfigurationError: One of them cannot be used.
    """
    if require not in ("any", "primary"):
        raise PoolConfigurationError.bad_value("require", describe(require), "argument", '"any" or "primary"')
    for name, value in (("fall", fall), ("rise", rise)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise PoolConfigurationError.bad_value(name, describe(value), "argument", "a whole number, 1 or more")
    return Terms(require, fall, rise)


def check_seconds(name: str, value: Any, *, zero: bool = False) -> float:
    """A number of seconds.

    Args:
        name: The argument's.
        value: What was given.
        zero: Whether 0 is allowed.

    Raises:
        PoolConfigurationError: It is no such number.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (0 <= value < float("inf")) or (value == 0 and not zero):
        allowed = "seconds, 0 or more" if zero else "seconds above 0"
        raise PoolConfigurationError.bad_value(name, describe(value), "argument", allowed)
    return float(value)


def liveness_of(lifecycle: Lifecycle) -> Liveness:
    """Whether the process lives; from memory, at once."""
    here = running_loop()
    handle = lifecycle.handle()
    loop = handle.loop if handle is not None else None
    ended = loop is not None and is_gone(loop)
    reason = "the process answers"
    if ended:
        reason = "the event loop that the pool's client is bound to has ended"
    elif loop is not None:
        reason = "the process answers, and the event loop of the pool runs"
    return Liveness(
        # Somebody who asks in an event loop is alive: its next `initialize` opens the pool anew.
        live=not ended or here is not None,
        reason=reason,
        pool=lifecycle.name,
        status=_status(lifecycle) if handle is None else "open",
        event_loop=None if loop is None else _state_of(loop),
    )


def _state_of(loop: AbstractEventLoop) -> Literal["running", "stopped", "closed"]:
    if loop.is_closed():
        return "closed"
    return "running" if loop.is_running() else "stopped"


def inquiry(
    lifecycle: Lifecycle, terms: Terms, timeout: float, max_age: float
) -> Generator[tuple[Future[Readiness], float], None, Readiness]:
    """Find an answer; the twins wait for what this yields, for as many seconds as it says."""
    deadline, left = time.monotonic() + timeout, timeout
    while left > 0 and (handle := lifecycle.handle()) is not None:
        if lifecycle.client_for(running_loop()) is None:
            break
        answer = yield from _examiner(handle, terms, timeout).inquire(left, max_age)
        if lifecycle.handle() is handle:
            return answer
        # Closed or replaced meanwhile: how the old client answered says nothing any more.
        left = deadline - time.monotonic()
    return without_a_look(lifecycle, terms.require)


def _examiner(handle: ClientHandle, terms: Terms, timeout: float) -> Examiner:
    """The examiner of all with the same terms and about the same patience, within a power of two.

    A short one must not decide that the server is down for those who would have waited, nor a long one keep
    everybody waiting; one for every number would be as many as there are numbers.
    """
    key = (terms, math.frexp(timeout)[1])
    # In a plain dictionary, because setdefault is atomic there, and a fork finds no lock of ours held.
    examiner: Examiner = handle.health.get(key) or handle.health.setdefault(key, Examiner(handle, terms))
    return examiner


def without_a_look(lifecycle: Lifecycle, require: Require) -> Readiness:
    """The answer of a pool that has no client to look with, or that nobody has looked at yet.

    Args:
        lifecycle: The pool's.
        require: What was asked for.
    """
    state, reason = _unlooked(lifecycle)
    live = liveness_of(lifecycle).live
    return Readiness(state=state, live=live, reason=reason, pool=lifecycle.name, require=require)


def _unlooked(lifecycle: Lifecycle) -> tuple[State, str]:
    if lifecycle.handle() is not None:
        if lifecycle.client_for(running_loop()) is None:
            return "down", "the event loop that the pool's client is bound to has ended: initialize it again"
        return "starting", "nobody has looked at the servers yet"
    status = _status(lifecycle)
    if status == "closing":
        return "closing", "the pool is closing"
    if status == "opening":
        return "starting", "the pool is being opened"
    if lifecycle.opened_order:
        return "down", "the pool is not open: it was closed, or opened in another process"
    return "starting", "the pool has not been opened yet"


def _status(lifecycle: Lifecycle) -> Literal["opening", "closing", "not_initialized"]:
    if lifecycle.closing:
        return "closing"
    return "not_initialized" if lifecycle.is_idle() else "opening"
