"""What is under way, by the driver's number for the connection, which is not unique over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ById"]

T = TypeVar("T")


class ById(Generic[T]):
    """What is under way, by connection id; an id that is there already is kept twice, the newer one first."""

    __slots__ = ("newest", "older")

    def __init__(self) -> None:
        self.newest: dict[int, T] = {}
        self.older: dict[int, list[T]] = {}

    def add(self, connection_id: int, value: T) -> None:
        """Keep one more, beside an older one of the same number."""
        if connection_id in self.newest:
            self.older.setdefault(connection_id, []).append(self.newest[connection_id])
        self.newest[connection_id] = value

    def take(self, connection_id: int) -> T | None:
        """Remove and return the oldest one; None if there is none."""
        if waiting := self.older.get(connection_id):
            value = waiting.pop(0)
            if not waiting:
                del self.older[connection_id]
            return value
        return self.newest.pop(connection_id, None)

    def contains(self, connection_id: int) -> bool:
        """Whether there is one of this number."""
        return connection_id in self.newest

    def __len__(self) -> int:
        return len(self.newest) + (sum(map(len, self.older.values())) if self.older else 0)

    def items(self) -> Iterator[tuple[int, T]]:
        """Each number with what is kept for it; those of older ones come last."""
        yield from self.newest.items()
        for connection_id, values in self.older.items():
            yield from ((connection_id, value) for value in values)
