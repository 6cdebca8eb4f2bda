"""The errors of the pools: a small tree under ``pymongo.errors.PyMongoError``.

Code that already catches the driver's errors catches these too. Each class owns its sentences: callers hand
over facts, and the text that names the option, the value and the cure is written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo.errors import (
    ConfigurationError,
    InvalidOperation,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .stats import PoolSnapshot

__all__ = [
    "PoolClosingError",
    "PoolConfigurationConflict",
    "PoolConfigurationError",
    "PoolError",
    "PoolExhaustedError",
    "PoolLoopError",
    "PoolNotInitializedError",
    "PoolStartTimeoutError",
]


class PoolError(PyMongoError):
    """The base of every error that the pools raise themselves."""


class PoolConfigurationError(PoolError, ConfigurationError):
    """An option, a value or a connection string that cannot be used. Nothing was opened or changed."""

    @classmethod
    def bad_value(cls, name: str, value: str, source: str, allowed: str) -> PoolConfigurationError:
        """Name the option, its value (already masked and shortened), where it came from and what is allowed."""
        return cls(f"{name}={value} ({source}) cannot be used; allowed: {allowed}.")

    @classmethod
    def unknown_option(cls, name: str, source: str, nearest: Iterable[str] = ()) -> PoolConfigurationError:
        """Name an option that nobody knows and the real names that look like it."""
        names = " or ".join(nearest)
        return cls(f"Unknown option {name} ({source})." + (f" Did you mean {names}?" if names else ""))

    @classmethod
    def answered(cls, name: str, source: str, answer: str) -> PoolConfigurationError:
        """Say what to write instead of an option of older guides or of other libraries."""
        return cls(f"{name} ({source}) is not an option here: {answer}.")

    @classmethod
    def bad_connection_string(cls, reason: str) -> PoolConfigurationError:
        """Say what is wrong with a connection string; ``reason`` must quote no part of it."""
        return cls(f"The connection string cannot be used: {reason}.")

    @classmethod
    def contradiction(cls, reason: str) -> PoolConfigurationError:
        """Say which options exclude each other, and where each was set."""
        return cls(f"These options contradict each other: {reason}.")


class PoolConfigurationConflict(PoolConfigurationError):
    """``scope`` was entered with a configuration that differs from the open pool's."""

    @classmethod
    def between(cls, pool: str, differing: Iterable[str]) -> PoolConfigurationConflict:
        """Name the options (never their values) in which the two configurations differ."""
        return cls(
            f"{pool} is open with another configuration; these differ: {', '.join(differing)}. "
            f'Use the same options, or give this scope a pool of its own: {pool}.named("...") or a subclass.'
        )


class PoolNotInitializedError(PoolError, InvalidOperation):
    """The pool was asked for something that needs an open client, and there is none."""

    @classmethod
    def of(cls, pool: str, call: str) -> PoolNotInitializedError:
        """Say which pool is not open and which call opens it (``call`` is ``await ...initialize`` or without)."""
        return cls(f"{pool} is not initialized: call `{call}` first.")


class PoolClosingError(PoolError, InvalidOperation):
    """New work was refused because the pool is closing."""

    @classmethod
    def of(cls, pool: str) -> PoolClosingError:
        """Say which pool is closing."""
        return cls(f"{pool} is closing and takes no new work; initialize it again after close() has returned.")


class PoolLoopError(PoolError, RuntimeError):
    """The pool was used where its event loop is not: see the text for both loops and the cure."""

    @classmethod
    def elsewhere(cls, pool: str, owner: str, caller: str) -> PoolLoopError:
        """The pool's client is bound to a loop that is alive in another thread."""
        return cls(
            f"{pool} (AsyncMongoClient) belongs to {owner}, which is still running; it cannot be used from "
            f'{caller}. Give each event loop a pool of its own ({pool}.named("...") or a subclass), close the '
            'pool before the other loop takes over, or use backend="motor", which serves every loop.'
        )

    @classmethod
    def no_loop(cls, pool: str) -> PoolLoopError:
        """An operation was started outside any running event loop."""
        return cls(f"{pool}: no event loop is running in this thread; call this from a coroutine.")

    @classmethod
    def would_block(cls, pool: str) -> PoolLoopError:
        """A blocking call was made inside a running event loop."""
        return cls(f"{pool}.close_sync() would block the running event loop: use `await {pool}.close()` here.")


class PoolStartTimeoutError(PoolError, ServerSelectionTimeoutError):
    """``initialize`` did not finish within its ``timeout``."""

    @classmethod
    def after(cls, pool: str, seconds: float, stage: str) -> PoolStartTimeoutError:
        """Say how long was waited and for what."""
        return cls(
            f"{pool}.initialize gave up after {seconds:.1f} s while {stage}. "
            "Raise `timeout` (seconds; default: serverSelectionTimeoutMS) if the server is only slow."
        )


class PoolExhaustedError(PoolError, WaitQueueTimeoutError):
    """An operation found no free connection in time, or too many others waiting.

    Attributes:
        snapshot: What the pool was doing at that moment.
    """

    snapshot: PoolSnapshot | None = None

    @classmethod
    def waited(cls, snapshot: PoolSnapshot, seconds: float, limit: str) -> PoolExhaustedError:
        """Say how long was waited, which limit ended it, and the whole state of the pool.

        Args:
            snapshot: Taken at the moment of the refusal.
            seconds: How long the operation waited.
            limit: What ended the wait, such as ``waitQueueTimeoutMS=200``.
        """
        return cls._telling(snapshot, f"no connection became free within {seconds:.2f} s ({limit})")

    @classmethod
    def too_many(cls, snapshot: PoolSnapshot, max_waiting: int) -> PoolExhaustedError:
        """Say that ``max_waiting`` others wait already, and the whole state of the pool."""
        return cls._telling(snapshot, f"{max_waiting} operation(s) wait already (max_waiting={max_waiting})")

    def with_labels(self, labels: Iterable[str]) -> PoolExhaustedError:
        """Carry the driver's labels, by which ``with_transaction`` knows what to repeat."""
        for label in labels:
            self._add_error_label(label)
        return self

    @classmethod
    def _telling(cls, snapshot: PoolSnapshot, reason: str) -> PoolExhaustedError:
        totals, executor = snapshot.totals, snapshot.executor
        # The limit is each server's: of several, the one that most wait for tells why.
        fullest = max(
            snapshot.servers.values(), key=lambda each: (each.pending_requests, each.used), default=totals
        )
        several = len(snapshot.servers) > 1
        where = f" on {getattr(fullest, 'address', '')}" if several else ""
        state = [
            f"{fullest.used} in use of {_size(fullest.max_size)}{where}",
            f"{fullest.idle} idle",
            f"{fullest.connecting} connecting",
            f"{totals.waiting} waiting" + (" for all servers" if several else ""),
        ]
        if executor is not None:
            state.append(f"{executor.busy} of {executor.max_workers} threads busy")
            if executor.streaming:
                state.append(f"{executor.streaming} of them with change streams or tailable cursors")
        if totals.used:
            state.append(f"the oldest connection held for {totals.oldest_use_seconds:.1f} s")
        error = cls(
            f"{snapshot.pool}: {reason}: {', '.join(state)}. Raise maxPoolSize if the server has room, shorten "
            "what holds connections (holders() names it), or raise waitQueueTimeoutMS if waiting longer is right."
        )
        error.snapshot = snapshot
        return error


def _size(max_size: int | None) -> str:
    return "an unlimited number" if max_size is None else f"maxPoolSize {max_size}"
