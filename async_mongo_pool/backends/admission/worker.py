"""A worker: one daemon thread that runs one operation after another."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from pymongo.errors import WaitQueueTimeoutError

from async_mongo_pool.errors import PoolError

from .limits import run_within

if TYPE_CHECKING:
    from async_mongo_pool.errors import PoolExhaustedError

    from .operation import Operation

__all__ = ["Employer", "Worker"]


class Employer(Protocol):
    """What a worker asks of the admission."""

    queue_waits: dict[int, float] | None

    def next_operation(self, worker: Worker, done: Operation) -> Operation | None:
        """Count the last operation as done and send it home; wait for the next; None ends the worker."""

    def exhausted(self, call: Any, seconds: float) -> PoolExhaustedError:
        """The pool's own error for the driver's."""


class Worker:
    """Runs what it is given, and is idle on a lock of its own until there is more.

    Args:
        employer: The admission.
        name: The thread's name.
    """

    __slots__ = ("_employer", "_name", "began", "gate", "operation")

    def __init__(self, employer: Employer, name: str) -> None:
        self._employer = employer
        self._name = name
        self.operation: Operation | None = None
        self.began = 0.0
        self.gate = threading.Lock()
        self.gate.acquire()

    def set_going(self) -> None:
        """Start the thread.

        Raises:
            RuntimeError: The system has no more of them.
        """
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        operation = self.operation
        while operation is not None:
            self._run(operation)
            operation = self._employer.next_operation(self, operation)

    def _run(self, operation: Operation) -> None:
        call = operation.call
        operation.call = None
        if call is not None:
            try:
                operation.result = call() if not operation.queued else self._run_late(operation, call)
            except StopIteration as stop:
                # A future refuses StopIteration; the standard executor converts it the same way.
                operation.error = RuntimeError(f"the operation raised StopIteration: {stop}")
            except WaitQueueTimeoutError as error:
                operation.error = self._in_our_words(operation, call, error)
            except BaseException as error:
                operation.error = error
        # An error's traceback refers to this frame: only the garbage collector would free the two.
        del self, operation, call

    def _run_late(self, operation: Operation, call: Any) -> Any:
        """Run an operation that had to wait."""
        if operation.ends is not None:
            run_within(call, operation.ends - monotonic())
        waits = self._employer.queue_waits
        if waits is None:
            return call()
        thread = threading.get_ident()
        waits[thread] = self.began - operation.submitted
        try:
            return call()
        finally:
            waits.pop(thread, None)

    def _in_our_words(self, operation: Operation, call: Any, error: WaitQueueTimeoutError) -> BaseException:
        """Of a replica set: the driver has a queue of its own behind ours."""
        if isinstance(error, PoolError):
            return error
        began = operation.submitted if operation.queued else self.began
        ours = self._employer.exhausted(call, monotonic() - began)
        ours.__cause__ = error
        return ours.with_labels(getattr(error, "_error_labels", ()))
