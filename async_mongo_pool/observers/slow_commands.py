"""A line in the log for each command that took long: only when ``slow_command_ms`` is set.

It names the command, the collection, the database and the server, and shows no value of a command or reply.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from pymongo.monitoring import CommandListener

from async_mongo_pool.addresses import address_text

from .commands import error_text

if TYPE_CHECKING:
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

    from .log_thread import LogThread

__all__ = ["SlowCommands"]

logger = logging.getLogger("async_mongo_pool")

_MOST_RUNNING = 10_000

_NAME_A_COLLECTION = frozenset(
    {
        "aggregate",
        "collMod",
        "collStats",
        "compact",
        "convertToCapped",
        "count",
        "create",
        "createIndexes",
        "createSearchIndexes",
        "delete",
        "distinct",
        "drop",
        "dropIndexes",
        "dropSearchIndex",
        "find",
        "findAndModify",
        "findandmodify",
        "insert",
        "killCursors",
        "listIndexes",
        "mapReduce",
        "update",
        "updateSearchIndex",
        "validate",
    }
)
"""Commands whose own value is a collection's name; that of others may be a user's name or worse."""


class SlowCommands(CommandListener):
    """Tells of the commands of one client that took long.

    A getMore that waits for news by design is not told of: those of change streams, with or without news, and
    those of tailable cursors that came back empty. One of a tailable cursor that brings news looks like any other.

    Args:
        pool: The pool's name.
        limit: Seconds from which on a command is slow.
        log_thread: Logs for us.
    """

    def __init__(self, pool: str, limit: float, log_thread: LogThread) -> None:
        self._pool = pool
        self._limit = limit * 1e6
        self._log_thread = log_thread
        self._collections: dict[int, str] = {}

    def started(self, event: CommandStartedEvent) -> None:
        """Note the collection, which the later events do not tell."""
        name = event.command_name
        if name in _NAME_A_COLLECTION:
            collection = event.command.get(name)
        elif name == "getMore":
            collection = event.command.get("collection")
        else:
            return
        if isinstance(collection, str):
            if len(self._collections) >= _MOST_RUNNING:
                self._forget_the_oldest()
            self._collections[event.request_id] = collection

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Tell of a slow one."""
        collection = self._collections.pop(event.request_id, None)
        if event.duration_micros >= self._limit and not _only_waited(event):
            self._tell(event, collection, None)

    def failed(self, event: CommandFailedEvent) -> None:
        """Tell of a slow one."""
        collection = self._collections.pop(event.request_id, None)
        if event.duration_micros >= self._limit:
            self._tell(event, collection, error_text(event.failure))

    def _forget_the_oldest(self) -> None:
        # A command whose task was cancelled never ends for us. Another thread may change the dictionary meanwhile.
        try:
            self._collections.pop(next(iter(self._collections)), None)
        except (StopIteration, RuntimeError):
            return

    def _tell(
        self, event: CommandSucceededEvent | CommandFailedEvent, collection: str | None, error: str | None
    ) -> None:
        # Nothing of the event is kept but this: its reply would live as long as the message waits.
        target = f"{event.database_name}.{collection}" if collection else event.database_name
        self._log_thread.hand_over(
            partial(
                logger.warning,
                "%s: slow command %s on %s at %s %s after %.3f s (slow_command_ms=%g)",
                self._pool,
                event.command_name,
                target,
                address_text(event.connection_id),
                "succeeded" if error is None else f"failed with {error}",
                event.duration_micros / 1e6,
                self._limit / 1000,
            )
        )


def _only_waited(event: CommandSucceededEvent) -> bool:
    if event.command_name != "getMore":
        return False
    cursor = event.reply.get("cursor", {})
    if "postBatchResumeToken" in cursor:
        # Only the cursors of change streams have one.
        return True
    return bool(cursor.get("id")) and not cursor.get("nextBatch")
