"""An admission without a server: calls that a test holds up, of every kind that Motor makes."""

from __future__ import annotations

import contextvars
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from async_mongo_pool.backends.admission import MotorAdmission

if TYPE_CHECKING:
    import asyncio


class Desk:
    """An admission, and calls that note their start and then wait until the test lets them go on."""

    def __init__(self, limit: int = 1, **options: Any) -> None:
        self.limit = limit
        self.admission = MotorAdmission("Desk", lambda: self.limit, **options)
        self.started: list[Any] = []
        self.everybody = threading.Event()

    def submit(self, name: Any, gate: threading.Event | None = None) -> asyncio.Future[Any]:
        """New work."""
        return self._submit(self._call, name, gate)

    def finish(self, name: Any, gate: threading.Event | None = None) -> asyncio.Future[Any]:
        """A call that finishes work."""

        def end_session(owner: Any, *arguments: Any) -> Any:
            return self._call(owner, *arguments)

        return self._submit(end_session, name, gate)

    def transact(self, name: Any, session: Any, gate: threading.Event | None = None) -> asyncio.Future[Any]:
        """A call of a session's transaction."""

        def method(owner: Any, gate: threading.Event | None, session: Any) -> Any:
            return self._call(owner, gate)

        return self._submit(method, name, gate, session)

    def stream(self, name: Any, gate: threading.Event | None = None) -> asyncio.Future[Any]:
        """A call that waits on a change stream."""

        def _try_next(owner: Any, *arguments: Any) -> Any:
            return self._call(owner.name, *arguments)

        return self._submit(_try_next, Stream(name), gate)

    def open_all(self) -> None:
        self.everybody.set()

    def _submit(self, method: Any, *arguments: Any) -> asyncio.Future[Any]:
        # The shape in which Motor hands over its calls.
        return self.admission.submit(partial(contextvars.copy_context().run, method, *arguments))

    def _call(self, name: Any, gate: threading.Event | None) -> Any:
        self.started.append(name)
        assert (gate or self.everybody).wait(20)
        return name


class Stream:
    """Looks like Motor's change stream once it is open."""

    def __init__(self, name: Any) -> None:
        self.name = name
        self.delegate = self
