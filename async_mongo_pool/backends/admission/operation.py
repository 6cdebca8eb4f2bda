"""One call on its way through a worker and back to its event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .calls import CONTINUES, FETCHES, FINISHES, STREAMS
from .line import WAITING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from pymongo.synchronous.client_session import ClientSession

    from .mailbox import Mailbox

__all__ = ["Operation"]


class Operation:
    """A call, the future that waits for it, and where it stands.

    Args:
        call: The blocking driver call, with its context bound.
        mailbox: Of the loop that waits for it.
        kind: As ``read_call`` tells.
        session: Whose transaction it belongs to; None for what belongs to none.
    """

    __slots__ = (
        "ahead",
        "call",
        "ends",
        "error",
        "future",
        "kind",
        "limit",
        "mailbox",
        "out_of_turn",
        "queued",
        "result",
        "session",
        "state",
        "streaming",
        "submitted",
        "urgent",
    )

    def __init__(
        self, call: Callable[[], Any], mailbox: Mailbox, kind: int, session: ClientSession | None = None
    ) -> None:
        self.call: Callable[[], Any] | None = call
        self.mailbox = mailbox
        self.future: asyncio.Future[Any] | None = mailbox.loop.create_future()
        self.kind = kind
        self.ahead = kind in (FINISHES, FETCHES)
        self.urgent = kind == FINISHES
        self.streaming = kind in (STREAMS, CONTINUES)
        self.session = session
        self.out_of_turn = False
        self.state = WAITING
        self.queued = False
        """Whether it had to wait for a worker."""
        self.submitted = 0.0
        self.ends: float | None = None
        """When timeoutMS ends the operation; only where it was queued."""
        self.limit = ""
        """What bounds its wait, in words."""
        self.result: Any = None
        self.error: BaseException | None = None

    def forget(self) -> None:
        """Let go of the call."""
        self.call = None

    def is_abandoned(self) -> bool:
        """Whether nobody waits for it any more; from any thread."""
        future = self.future
        return future is None or future.cancelled() or self.mailbox.loop.is_closed()

    def settle(self) -> None:
        """Hand over what came out; only in the thread of its loop."""
        future, result, error = self.future, self.result, self.error
        # An error's traceback refers to frames that refer to the operation: only the garbage collector would
        # free them.
        self.future = self.result = self.error = None
        if future is None:
            return
        if self.queued:
            future.remove_done_callback(self)
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        del result, error

    def __call__(self, future: asyncio.Future[Any]) -> None:
        """The future is done: by a cancellation, or settled in another way that has removed this callback."""
        if future.cancelled():
            self.mailbox.cancelled(self)
