"""Equality by meaning: hashable normal forms of option values, whatever the values are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from typing import Any

__all__ = ["Like", "Same", "freeze"]


class Same:
    """Equal to another only if both hold the very same object (listeners, callables)."""

    __slots__ = ("_held",)

    def __init__(self, held: Any) -> None:
        self._held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self._held is other._held

    def __hash__(self) -> int:
        return id(self._held)

    def __repr__(self) -> str:
        return f"<same {type(self._held).__name__}>"


class Like:
    """Equal to another if the held objects say so; hashing and comparing never raise."""

    __slots__ = ("_held",)

    def __init__(self, held: Any) -> None:
        self._held = held

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Like):
            return False
        if self._held is other._held:
            return True
        try:
            return type(self._held) is type(other._held) and bool(self._held == other._held)
        except Exception:  # a foreign __eq__ may raise anything
            return False

    def __hash__(self) -> int:
        # The type alone: TypeRegistry and others define == and therefore have no hash.
        return id(type(self._held))

    def __repr__(self) -> str:
        return f"<like {type(self._held).__name__}>"


def freeze(value: Any) -> Hashable:
    """Return a hashable form that is equal for values of equal meaning.

    Args:
        value: Any option value: plain, container or object.

    Returns:
        A form whose hash and comparison never raise.
    """
    if value is None or isinstance(value, (str, int, float, bytes)):
        # A subclass (an enum member) compares as its value, and its own __hash__ is not called.
        return value if type(value) in (str, int, float, bytes, bool, type(None)) else Like(value)
    if isinstance(value, Mapping):
        return ("mapping", frozenset((freeze(key), freeze(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return ("sequence", tuple(freeze(item) for item in value))
    if isinstance(value, Set):
        return ("set", frozenset(freeze(item) for item in value))
    if callable(value) and not isinstance(value, type):
        return Same(value)
    return Like(value)
