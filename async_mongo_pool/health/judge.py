"""When a pool counts as ready: the state machine, without I/O and without a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .results import Require, State

__all__ = ["FALL", "RISE", "Judge", "Terms"]

FALL = 2
"""Bad signs in a row after which a ready pool is down."""

RISE = 1
"""Good ones in a row after which it is ready again."""


class Terms(NamedTuple):
    """What a prober asks for; probers with equal terms, and about the same time, share their answers.

    Attributes:
        require: "any" or "primary".
        fall: Bad signs in a row after which a ready pool is down.
        rise: Good signs in a row after which it is ready.
    """

    require: Require = "any"
    fall: int = FALL
    rise: int = RISE


class Judge:
    """Counts good and bad signs in a row, so that one failing ping takes no service out of rotation.

    Args:
        terms: The two thresholds.
        ready: Whether to begin as ready: a pool that has just been opened has proven its server.
    """

    def __init__(self, terms: Terms, *, ready: bool = False) -> None:
        self._terms = terms
        self.ready = ready
        self._rose = ready
        self._good = 0
        self._bad = 0

    @property
    def state(self) -> State:
        """One of "ready", "down", and "starting": never ready so far, and not given up yet."""
        if self.ready:
            return "ready"
        return "down" if self._rose or self._bad >= self._terms.fall else "starting"

    def good(self) -> None:
        """Count a good sign."""
        self._bad = 0
        self._good += 1
        if self._good >= self._terms.rise:
            self.ready = self._rose = True

    def bad(self, signs: int = 1) -> None:
        """Count bad signs.

        Args:
            signs: How many.
        """
        if not signs:
            return
        self._good = 0
        self._bad += signs
        if self._bad >= self._terms.fall:
            self.ready = False
