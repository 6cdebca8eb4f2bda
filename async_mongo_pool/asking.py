"""What a caller of ``initialize`` or ``scope`` asks for, and what makes two of them equal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .config import resolve
from .config.options import describe
from .config.packages import require_packages
from .errors import PoolConfigurationError
from .retry.operation import deadline_around

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from .config import ClientSettings, PoolConfig

__all__ = ["AS_USUAL", "Asking", "Manner", "Request"]


_SELECTION_TIMEOUT = "serverselectiontimeoutms"


class Request(NamedTuple):
    """What a caller asked for, as it was given. It may hold secrets: its ``repr`` shows none."""

    connection: str | PoolConfig | Callable[[], Any] | None
    backend: str | None
    preset: str | None
    options: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<Request of {type(self.connection).__name__} with {len(self.options)} options>"

    def is_empty(self) -> bool:
        """Whether nothing was given at all."""
        return self == (None, None, None, {})

    def settings(self) -> ClientSettings:
        """Resolve the configuration; the connection must be known by now, and not a callable any more."""
        return resolve(cast("str | PoolConfig | None", self.connection), self.options, preset=self.preset)

    def completed_by(self, remembered: Request) -> Request:
        """Take from an earlier request what this one leaves out."""
        given = {_folded(name) for name in (*self.options, *_named_in(self.connection))}
        kept = {name: value for name, value in remembered.options.items() if _folded(name) not in given}
        return Request(
            remembered.connection if self.connection is None else self.connection,
            self.backend or remembered.backend,
            self.preset or getattr(self.connection, "preset", None) or remembered.preset,
            {**kept, **self.options},
        )


class Manner(NamedTuple):
    """How a pool is to be opened.

    Attributes:
        timeout: Seconds for everything; None for the server selection timeout.
        warm_up: Wait until minPoolSize connections are open.
        fresh: Make a new client although an equal one is open.
        degraded: Open without a server when none can be reached, unless another client serves.
    """

    timeout: float | None = None
    warm_up: bool = False
    fresh: bool = False
    degraded: bool = False


AS_USUAL = Manner()


class Asking:
    """A request made complete: which backend, which settings, and what makes two of them equal."""

    def __init__(self, request: Request, backend: str, manner: Manner = AS_USUAL) -> None:
        self.request = request
        self.backend = backend
        self.manner = manner
        self.settings: ClientSettings | None = None
        # What a callable will return is not known before it is called.
        self.key: Hashable = _CallableKey(backend, request)
        if not callable(request.connection):
            self.found(request.settings())

    def found(self, settings: ClientSettings) -> None:
        """Take the settings that are known now: at once, or when a callable has answered.

        Raises:
            PoolConfigurationError: They need a package that is not installed.
        """
        require_packages(settings)
        self.settings = settings
        self.key = (self.backend, settings.key)

    def seconds(self, timeout: Any) -> float:
        """The bound of ``initialize``: what the caller gave, else the server selection timeout.

        A deadline around the call (``operation``, ``pymongo.timeout``) bounds it too, because the driver keeps it:
        other callers must know how much patience an attempt had.

        Raises:
            PoolConfigurationError: It is not a positive number.
        """
        if timeout is None:
            return _within_deadline(self._selection_timeout() / 1000)
        is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
        if not (is_number and 0 < timeout < float("inf")):
            raise PoolConfigurationError.bad_value(
                "timeout", describe(timeout), "argument", "seconds above 0, or None"
            )
        return _within_deadline(float(timeout))

    def _selection_timeout(self) -> float:
        """In milliseconds; of a callable's answer nothing is known yet but the options beside it."""
        if self.settings is not None:
            return float(self.settings.value("serverSelectionTimeoutMS") or 5000)
        given = (value for name, value in self.request.options.items() if _folded(name) == _SELECTION_TIMEOUT)
        value = next(given, None)
        return float(value) if isinstance(value, (int, float)) and value > 0 else 5000.0


class _CallableKey:
    """Makes requests equal that name an equal callable and equal options; none of it need be hashable."""

    def __init__(self, backend: str, request: Request) -> None:
        self._backend = backend
        self._request = request

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _CallableKey) and (self._backend, self._request) == (
            other._backend,
            other._request,
        )

    def __hash__(self) -> int:
        return hash((self._backend, self._request.preset))


def _within_deadline(seconds: float) -> float:
    around = deadline_around()
    return seconds if around is None else min(seconds, max(around - time.monotonic(), 0.001))


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def _named_in(connection: Any) -> list[str]:
    """The options that a connection string or a ``PoolConfig`` itself sets."""
    if connection is None or callable(connection):
        return []
    try:
        options = resolve(connection).explain()
    except PoolConfigurationError:
        # Incomplete without the others, or wrong: which of the two shows when all is resolved.
        return []
    return [option.name for option in options if option.source.startswith(("URI", "argument"))]
