"""What statistics objects have in common: plain values for JSON, and the difference of counts."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Plain", "difference"]


class Plain:
    """Turns a statistics object into plain dictionaries, lists and numbers."""

    __slots__ = ()

    _derived: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON and for ``get_pool_stats``."""
        names = (*(each.name for each in fields(self)), *self._derived)  # type: ignore[arg-type]
        return {name: _plain(getattr(self, name)) for name in names}


def difference(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """What was added to counts by reason.

    Args:
        now: The later counts.
        before: The earlier ones.
    """
    return {reason: number - before.get(reason, 0) for reason, number in now.items()}


def _plain(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
