"""What is known about the health of one client: one ping at a time, for everybody who asks meanwhile.

The mutex is held for a few lines and never over a call into a driver. Whoever has to wait does so in a twin, on a
future that this module hands out.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import TYPE_CHECKING

from pymongo.errors import WaitQueueTimeoutError

from .judge import Judge
from .pinging import start_ping
from .results import Readiness
from .sight import one_line, see

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from async_mongo_pool.backends.handle import ClientHandle

    from .judge import Terms
    from .results import Require
    from .sight import Sight

__all__ = ["Examiner"]

PING_SHARE = 0.9
"""The part of a prober's time that its ping may use."""

WAIT_SHARE = 0.95
"""The part that it waits for the ping, so that the answer is there in time."""

FIRST_WAIT = 0.05
"""Seconds after which a prober looks whether the pool has become full, so that its ping waits for a connection."""

_EARLY = 0.005
"""Seconds by which an event loop's timer may fire before its time."""

_FULL = "every connection is in use"


class _Flight:
    """A ping that is under way, and the answer of everybody who waits for it."""

    __slots__ = ("answer", "deadline", "landed", "seconds")

    def __init__(self, deadline: float, seconds: float) -> None:
        self.deadline = deadline
        self.seconds = seconds
        self.landed = False
        self.answer: Future[Readiness] = Future()
        # From here on a cancelled waiter cancels nobody else.
        self.answer.set_running_or_notify_cancel()


class Examiner:
    """The answers to probers with equal terms and about the same time, for one client.

    Args:
        handle: The open client's.
        terms: What they ask for.
        ping: Begins a ping; see ``start_ping``.
        look: Reads what the heartbeats tell; see ``see``.
        clock: Seconds that only grow, comparable with ``Sight.heard_at``.
    """

    def __init__(
        self,
        handle: ClientHandle,
        terms: Terms,
        *,
        ping: Callable[[ClientHandle, Require, float], Future[float]] = start_ping,
        look: Callable[[ClientHandle, Require, bool], Sight] = see,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handle = handle
        self._terms = terms
        self._start_ping = ping
        self._see = look
        self._clock = clock
        # Re-entrant, because a signal handler may probe while this thread holds it.
        self._mutex = threading.RLock()
        self._flight: _Flight | None = None
        self._ping: Future[float] | None = None
        self._last: tuple[float, Readiness] | None = None
        self._failed_at = 0.0
        self._heard_at = 0.0
        self._response: float | None = None
        # Heartbeats that know a server as required say that the opening has just proven it.
        self._judge = Judge(terms, ready=self._look().suits(terms.require))

    def inquire(
        self, timeout: float, max_age: float
    ) -> Generator[tuple[Future[Readiness], float], None, Readiness]:
        """Find an answer.

        Args:
            timeout: Seconds for everything.
            max_age: Seconds for which an earlier answer is good enough.

        Yields:
            What to wait for, and for how many seconds at most.

        Returns:
            The answer, in any case.
        """
        now = self._clock()
        if (last := self._last) is not None and now - last[0] < max_age:
            return last[1].aged(now - last[0])
        if (answer := self._if_full()) is not None:
            return answer
        flight = self._board(now, timeout)
        deadline = min(now + timeout * WAIT_SHARE, flight.deadline)
        for pause in (FIRST_WAIT, timeout):
            if not flight.answer.done() and (left := deadline - self._clock()) > 0:
                yield flight.answer, min(pause, left)
            if not flight.answer.done() and (answer := self._if_full()) is not None:
                return answer
        if not flight.answer.done() and self._clock() >= flight.deadline - _EARLY:
            self._land(flight, f"no answer to a ping within {flight.seconds:.3g} s")
        if flight.answer.done():
            return flight.answer.result()
        sight = self._look()
        with self._mutex:
            return self._worded(sight, "the answer to a ping is awaited")

    def _look(self) -> Sight:
        pinging = self._ping is not None and not self._ping.done()
        return self._see(self._handle, self._terms.require, pinging)

    # The ping

    def _board(self, now: float, timeout: float) -> _Flight:
        """Join the ping that is under way, or start one."""
        with self._mutex:
            if (flight := self._flight) is not None:
                return flight
            flight = self._flight = _Flight(now + timeout * WAIT_SHARE, timeout)
            # One that does not keep to its own deadline is waited for again: there is never a second beside it.
            ping = self._ping if self._ping is not None and not self._ping.done() else None
        if ping is None:
            try:
                ping = self._ping = self._start_ping(self._handle, self._terms.require, timeout * PING_SHARE)
            except RuntimeError as error:
                # The event loop has ended, the interpreter shuts down, or there are no more threads.
                self._land(flight, f"no ping could be sent: {error}")
                return flight
        ping.add_done_callback(partial(self._arrived, flight))
        return flight

    def _arrived(self, flight: _Flight, ping: Future[float]) -> None:
        try:
            seconds = ping.result()
        except CancelledError:
            self._land(flight, "the event loop that pinged has ended")
        except WaitQueueTimeoutError:
            # Where others use every connection it says nothing about the server.
            self._land(flight, "no connection for a ping could be had in time", unless_full=True)
        except BaseException as error:
            text = one_line(str(error), self._handle.settings.redactor.scrub)
            self._land(flight, f"the ping failed with {type(error).__name__}: {text}")
        else:
            self._land(flight, seconds=seconds)

    def _land(
        self,
        flight: _Flight,
        failure: str | None = None,
        *,
        seconds: float | None = None,
        unless_full: bool = False,
    ) -> None:
        """Turn what became of a ping into the answer; only the first call for a flight counts."""
        sight = self._look()
        with self._mutex:
            if flight.landed:
                return
            flight.landed = True
            if self._flight is flight:
                self._flight = None
            if seconds is not None:
                self._response = seconds
            full = unless_full and sight.full
            flight.answer.set_result(self._noted_full(sight) if full else self._noted(sight, failure))

    # The verdict

    def _if_full(self) -> Readiness | None:
        """The answer for a full pool, judged by heartbeats, as a ping would only wait; None for any other."""
        sight = self._look()
        if not sight.full:
            return None
        with self._mutex:
            return self._noted_full(sight)

    def _noted_full(self, sight: Sight) -> Readiness:
        if sight.heard_at > max(self._failed_at, self._heard_at):
            # Each heartbeat counts once, however often it is asked about.
            self._heard_at = sight.heard_at
            self._judge.good()
        if self._judge.ready:
            return self._kept(sight, f"{_FULL}: work waits, and the heartbeats are well", full=True)
        return self._kept(sight, f"{_FULL}, and no heartbeat was answered since the last failure", full=True)

    def _noted(self, sight: Sight, failure: str | None) -> Readiness:
        suits = sight.suits(self._terms.require)
        if failure is None and suits:
            self._judge.good()
            return self._kept(sight, f"the server answered a ping in {self._response or 0.0:.3f} s")
        self._judge.bad((failure is not None) + (not suits))
        self._failed_at = self._clock()
        reason = "; ".join(filter(None, (None if suits else sight.lack(self._terms.require), failure)))
        return self._kept(sight, f"still in service after a failure: {reason}" if self._judge.ready else reason)

    def _kept(self, sight: Sight, reason: str, *, full: bool = False) -> Readiness:
        answer = self._worded(sight, reason, full=full)
        self._last = (self._clock(), answer)
        return answer

    def _worded(self, sight: Sight, reason: str, *, full: bool = False) -> Readiness:
        state = self._judge.state
        saturated = full or sight.saturated
        return Readiness(
            state="degraded" if state == "ready" and saturated else state,
            ready=self._judge.ready,
            live=True,
            reason=reason,
            pool=self._handle.pool,
            require=self._terms.require,
            response_seconds=self._response,
            primary=sight.primary,
            servers=sight.servers,
            saturated=saturated,
        )
