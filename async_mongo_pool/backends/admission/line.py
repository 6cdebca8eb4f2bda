"""The waiting line: who waits, in which order, and until when. Pure: no lock, no clock, no loop."""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["GONE", "STARTED", "WAITING", "Deadlines", "Waiting", "WaitingLine"]

WAITING, STARTED, GONE = range(3)
"""The life of an operation: it waits, then it is given to a worker, or it leaves."""

_FEW = 64
_IN_A_ROW = 3
"""So many batches of cursors are started one after another while new work waits."""


class Waiting(Protocol):
    """What the line asks of those who wait in it."""

    state: int
    ahead: bool
    """Whether it goes ahead of new work."""
    urgent: bool
    """Of those: whether it goes ahead of the others too, and new work has to wait for it in any case."""

    @property
    def session(self) -> Any:
        """Of an urgent one: whose transaction it belongs to; None where it belongs to none."""

    out_of_turn: bool
    """Whether it may run beside another one of its transaction."""

    def forget(self) -> None:
        """Let go of what it would have run: its place in the line may be cleared away later."""


T = TypeVar("T", bound=Waiting)


class WaitingLine(Generic[T]):
    """Three classes, first in first out within each. Who leaves is skipped when its turn comes.

    What ends work (a commit) goes first. What continues it (the next batch of a cursor) goes before new work, but
    in turns: cursors without end would otherwise keep all new work waiting. Of a transaction one operation runs
    at a time: Motor lets a cancelled one run on in its thread, and the abort that follows must not overtake it.
    """

    def __init__(self) -> None:
        self.waiting = 0
        """Those who wait; the ones who left do not count."""
        self.waiting_ahead = 0
        """Those of them who go ahead of new work."""
        self.at_work: set[Any] = set()
        """The sessions whose transaction runs an operation now; kept by the owner."""
        self._urgent: deque[T] = deque()
        self._ahead: deque[T] = deque()
        self._behind: deque[T] = deque()
        self._in_a_row = 0

    def add(self, operation: T) -> None:
        """Put one at the end of its class."""
        self._class_of(operation).append(operation)
        self._count(operation, 1)

    def put_back(self, operation: T) -> None:
        """Put one that was taken back at the head of its class."""
        operation.state = WAITING
        self._class_of(operation).appendleft(operation)
        self._count(operation, 1)

    def take(self, *, new_work: bool) -> T | None:
        """The next whose turn it is.

        Args:
            new_work: Whether new work may be taken; what goes ahead of it always may.
        """
        taken = self._first_urgent() if self.at_work else _first(self._urgent)
        if taken is None and new_work and self._in_a_row >= _IN_A_ROW:
            taken = _first(self._behind)
            self._in_a_row = 0 if taken is not None else self._in_a_row
        if taken is None:
            taken = _first(self._ahead)
            self._in_a_row += taken is not None
        if taken is None and new_work:
            taken = _first(self._behind)
            self._in_a_row = 0 if taken is not None else self._in_a_row
        if taken is not None:
            taken.state = STARTED
            self._count(taken, -1)
        return taken

    def leave(self, operation: T) -> bool:
        """Take one out, wherever it stands; False when it does not wait any more."""
        if operation.state != WAITING:
            return False
        operation.state = GONE
        operation.forget()
        self._count(operation, -1)
        if len(self._urgent) + len(self._ahead) + len(self._behind) > 2 * self.waiting + _FEW:
            self._urgent = deque(each for each in self._urgent if each.state == WAITING)
            self._ahead = deque(each for each in self._ahead if each.state == WAITING)
            self._behind = deque(each for each in self._behind if each.state == WAITING)
        return True

    def drain(self) -> list[T]:
        """Take everybody out, in order."""
        taken = []
        self.at_work, at_work = set(), self.at_work
        while (operation := self.take(new_work=True)) is not None:
            operation.state = GONE
            taken.append(operation)
        self.at_work = at_work
        return taken

    def kept_by_session(self) -> int:
        """Those who wait for another operation of their own transaction, and not for a worker."""
        if not self.at_work:
            return 0
        return sum(each.state == WAITING and self.is_kept(each) for each in self._urgent)

    def let_out_of_turn(self, operations: list[T]) -> list[T]:
        """Let those go on that waited long for another operation of their own transaction, and not for a worker.

        An abort that is refused would leave the transaction open, and make Motor abort it on the event loop. By
        now the server has had that other operation for long, and keeps the order of the two itself.

        Args:
            operations: Whose time is up.

        Returns:
            Those of them that are let go on.
        """
        kept = [each for each in operations if each.state == WAITING and self.is_kept(each)]
        for operation in kept:
            operation.out_of_turn = True
        return kept

    def is_kept(self, operation: T) -> bool:
        """Whether another operation of its own transaction runs, and it has to wait for that."""
        return operation.session in self.at_work and not operation.out_of_turn

    def _first_urgent(self) -> T | None:
        passed: list[T] = []
        while (operation := _first(self._urgent)) is not None and self.is_kept(operation):
            passed.append(operation)
        self._urgent.extendleft(reversed(passed))
        return operation

    def _class_of(self, operation: T) -> deque[T]:
        if operation.urgent:
            return self._urgent
        return self._ahead if operation.ahead else self._behind

    def _count(self, operation: T, change: int) -> None:
        self.waiting += change
        if operation.ahead:
            self.waiting_ahead += change


def _first(line: deque[T]) -> T | None:
    while line:
        operation = line.popleft()
        if operation.state == WAITING:
            return operation
    return None


class Deadlines(Generic[T]):
    """The times at which those who still wait are to be refused; one heap, emptied lazily."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._number = 0
        self._clear_at = _FEW

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due: float, operation: T) -> None:
        """Remember one.

        Args:
            due: By ``time.monotonic()``.
            operation: Who is to be refused then.
        """
        if len(self._heap) >= self._clear_at:
            self._heap = [each for each in self._heap if each[2].state == WAITING]
            heapify(self._heap)
            self._clear_at = max(_FEW, 2 * len(self._heap))
        self._number += 1
        heappush(self._heap, (due, self._number, operation))

    def expired(self, now: float) -> list[T]:
        """Take out those who still wait and whose time is up."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            operation = heappop(self._heap)[2]
            if operation.state == WAITING:
                found.append(operation)
        return found

    def next_due(self) -> float | None:
        """When to look again; None when nobody waits."""
        heap: list[Any] = self._heap
        while heap and heap[0][2].state != WAITING:
            heappop(heap)
        return heap[0][0] if heap else None
