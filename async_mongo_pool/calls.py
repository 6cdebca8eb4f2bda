"""What the lifecycle and those who open a pool hand each other: calls, attempts, and what is to be done next."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .loops import is_gone

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Hashable

    from .backends.handle import ClientHandle

__all__ = ["Attempt", "Call", "Join", "Lead", "Reuse"]


@dataclass(slots=True, eq=False)
class Call:
    """A call of ``initialize``, ``rotate`` or ``scope``, from its beginning to its end: between two attempts too.

    Attributes:
        epoch: The pool's when the call began; a close begins a new one, and what began before it opens nothing.
        serial: That of the last attempt that had begun before the call.
        by_scope: Whether a scope asks, which opens or shares, and never replaces.
        loop: The caller's event loop, None in the twin.
        closed: Done when the pool was closed meanwhile.
    """

    epoch: object
    serial: int = 0
    by_scope: bool = False
    loop: AbstractEventLoop | None = None
    closed: Future[None] = field(default_factory=Future)

    def __post_init__(self) -> None:
        # From here on a cancelled waiter does not cancel it.
        self.closed.set_running_or_notify_cancel()

    def is_alive(self) -> bool:
        """Whether it goes on: what an ended event loop has left behind never does."""
        return self.loop is None or not is_gone(self.loop)


@dataclass(slots=True, eq=False)
class Attempt:
    """One try to open a client; at most one is in flight for a pool, over all loops and threads."""

    serial: int
    key: Hashable
    by_scope: bool
    deadline: float
    loop: AbstractEventLoop | None = None
    handle: ClientHandle | None = None
    """What is being started."""
    unwanted: Future[None] = field(default_factory=Future)
    """Done when the pool was closed meanwhile: whoever leads stops waiting for a server."""
    done: Future[None] = field(default_factory=Future)

    def __post_init__(self) -> None:
        # From here on a cancelled waiter of theirs cancels neither.
        self.unwanted.set_running_or_notify_cancel()
        self.done.set_running_or_notify_cancel()


@dataclass(frozen=True, slots=True)
class Reuse:
    """The pool is open as asked."""

    handle: ClientHandle


@dataclass(frozen=True, slots=True)
class Join:
    """Another loop or thread is connecting: wait for it, then ask again."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Lead:
    """It is the caller's turn to connect; clients that were found dead are to be finished off first."""

    attempt: Attempt
    dead: tuple[ClientHandle, ...] = ()
