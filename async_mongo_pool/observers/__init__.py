"""What may be watched beside the counters: each part is off unless its option is set, and costs nothing then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from async_mongo_pool.events import TaskConnectionEvents

from .commands import CommandTimes
from .event_log import EventLog, is_wanted
from .heartbeats import HeartbeatTimes
from .holders import describe_holders
from .log_thread import LogThread
from .slow_checkouts import SlowCheckouts
from .slow_commands import SlowCommands

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from async_mongo_pool.config import ClientSettings
    from async_mongo_pool.config.pool_options import PoolOptions
    from async_mongo_pool.distribution import Distribution
    from async_mongo_pool.events import ConnectionEvents
    from async_mongo_pool.stats import CommandStats, Holder

    from .slow_checkouts import Holdings, Refresh

__all__ = ["Observers"]


class Observers:
    """The observers of one client.

    They start no thread before the first event, so those whose client could not be made need no ``stop``. In a
    child process those of the parent's client fall silent; the child's own client gets its own.

    Args:
        pool: The pool's name.
        options: Which observers to have.
        events: The client's counts.
        by_task: Tasks check out connections (AsyncMongoClient); else threads do.
        submitted: Tasks submit operations to threads (Motor).
        refresh: As for ``SlowCheckouts``.
    """

    def __init__(
        self,
        pool: str,
        options: PoolOptions,
        events: Holdings,
        *,
        by_task: bool = False,
        submitted: bool = False,
        refresh: Refresh | None = None,
    ) -> None:
        self._events = events
        self._checkouts: SlowCheckouts | None = None
        if options.slow_checkout_ms is not None:
            self._checkouts = SlowCheckouts(
                pool,
                options.slow_checkout_ms / 1000,
                events,
                stack=options.slow_checkout_stack,
                by_task=by_task,
                submitted=submitted,
                refresh=refresh,
            )
        self._log_thread = LogThread(pool, self._checkouts.look) if self._checkouts else LogThread(pool)
        if self._checkouts is not None:
            self._checkouts.attach(self._log_thread)
        self._slow_commands: SlowCommands | None = None
        if options.slow_command_ms is not None:
            self._slow_commands = SlowCommands(pool, options.slow_command_ms / 1000, self._log_thread)
        self._commands = CommandTimes() if options.command_stats else None
        self._heartbeats = HeartbeatTimes() if options.heartbeat_stats else None
        self._event_log = EventLog(pool) if is_wanted() else None

    @classmethod
    def for_settings(
        cls,
        pool: str,
        settings: ClientSettings,
        events: ConnectionEvents,
        backend: str,
        refresh: Refresh | None = None,
    ) -> Self:
        """The observers that a configuration asks for.

        Args:
            pool: The pool's name.
            settings: The client's.
            events: The client's counts.
            backend: The handle's.
            refresh: As for ``SlowCheckouts``.
        """
        # Both twins call a backend of theirs "pymongo"; which of the two it is, the counts tell.
        by_task = isinstance(events, TaskConnectionEvents)
        return cls(
            pool,
            settings.pool_options,
            events,
            by_task=by_task,
            submitted=backend == "motor",
            refresh=refresh,
        )

    def listeners(self) -> list[Any]:
        """For the client's ``event_listeners``, behind its counts."""
        every = (self._checkouts, self._commands, self._slow_commands, self._heartbeats, self._event_log)
        return [each for each in every if each is not None]

    @property
    def on_submit(self) -> Callable[[Any], None] | None:
        """To be called with each Motor operation in the task that submits it; None where nobody needs it."""
        return self._checkouts.on_submit if self._checkouts is not None else None

    def holders(self) -> list[Holder]:
        """Who holds a connection now, the one that has held longest first."""
        checkouts = self._checkouts.current() if self._checkouts is not None else None
        return describe_holders(self._events.holdings(), checkouts)

    def commands(self) -> dict[str, CommandStats]:
        """The commands by name; empty unless ``command_stats`` is on."""
        return self._commands.stats() if self._commands is not None else {}

    def heartbeats(self) -> dict[str, Distribution]:
        """The heartbeats by server; empty unless ``heartbeat_stats`` is on."""
        return self._heartbeats.stats() if self._heartbeats is not None else {}

    def stop(self) -> None:
        """Let the log thread end when it has said what it was given; to be called when the client is closed."""
        self._log_thread.stop()
