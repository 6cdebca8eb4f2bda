"""For how long ``initialize`` goes on trying to reach a server, and what it does then; pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .config.options import describe
from .diagnosis import is_unreachable
from .errors import PoolConfigurationError
from .retry.backoff import pause

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OnFailure", "Patience"]

OnFailure: TypeAlias = Literal["raise", "degraded"]


class Patience:
    """One call's.

    Args:
        seconds: For how long to try again; 0 is one attempt.
        degraded: Open without a server in the end.
        clock: Seconds, monotonic.
        pause_after: The pause after so many failed attempts, in seconds.
    """

    def __init__(
        self,
        seconds: float = 0.0,
        *,
        degraded: bool = False,
        clock: Callable[[], float] = time.monotonic,
        pause_after: Callable[[int], float] = pause,
    ) -> None:
        self._degraded = degraded
        self._gave_in = False
        self._clock = clock
        self._pause_after = pause_after
        self._until = clock() + seconds
        self._failed = 0

    @classmethod
    def of(cls, retry_for: Any, on_failure: Any) -> Patience:
        """From the arguments of ``initialize``.

        Raises:
            PoolConfigurationError: One of them cannot be used.
        """
        number = isinstance(retry_for, (int, float)) and not isinstance(retry_for, bool)
        if retry_for is not None and not (number and 0 <= retry_for < float("inf")):
            raise PoolConfigurationError.bad_value(
                "retry_for", describe(retry_for), "argument", "seconds, 0 or more"
            )
        if on_failure not in ("raise", "degraded"):
            raise PoolConfigurationError.bad_value(
                "on_failure", describe(on_failure), "argument", '"raise" or "degraded"'
            )
        return cls(retry_for or 0.0, degraded=on_failure == "degraded")

    def gives_in(self) -> bool:
        """Whether the attempt that begins now, the last one, may end without a server."""
        self._gave_in = self._degraded and self._until <= self._clock()
        return self._gave_in

    def pause(self, error: BaseException) -> float | None:
        """How long to wait before the next attempt.

        Args:
            error: What the last one failed with.

        Returns:
            Seconds; None when there is to be none, because time is up or trying again would not help.
        """
        self._failed += 1
        if not is_unreachable(error):
            return None
        left = self._until - self._clock()
        if left > 0:
            return min(self._pause_after(self._failed), left)
        return 0.0 if self._degraded and not self._gave_in else None
