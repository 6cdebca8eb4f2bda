"""How many commands there were and how long they took: only with ``command_stats``."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pymongo.monitoring import CommandListener

from async_mongo_pool.addresses import address_text
from async_mongo_pool.distribution import BOUNDS, Distribution, Recorder
from async_mongo_pool.forks import StartsAfresh
from async_mongo_pool.stats import CommandSeries, CommandStats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

    from async_mongo_pool.addresses import Address

__all__ = ["DATABASES", "SERIES", "CommandTimes", "error_text"]

DATABASES = 100
"""Databases that are counted by name; further ones are counted together as "other"."""

SERIES = 500
"""Combinations of server, database, command and outcome; what goes beyond is "other" in all of them."""

_OTHER = "other"

_Key = tuple["Address", str, str, str | None]


class CommandTimes(CommandListener, StartsAfresh):
    """Times the commands of one client by server, database, command and outcome.

    A write that the server answered counts as succeeded, even if documents of it were refused (a duplicate key):
    the driver raises those from the reply.
    """

    def __init__(self) -> None:
        super().__init__()
        self._after_fork_in_child()

    def _after_fork_in_child(self) -> None:
        """Begin at zero, with a lock that nobody holds."""
        # Re-entrant: the garbage collector or a signal handler may run commands while this thread counts.
        self._lock = threading.RLock()
        self._series: dict[_Key, Recorder] = {}
        self._databases: set[str] = set()

    def stats(self) -> dict[str, CommandStats]:
        """What was counted so far, by the command's name."""
        with self._lock:
            recorded = [(key, recorder.distribution()) for key, recorder in self._series.items()]
        by_command: defaultdict[str, list[CommandSeries]] = defaultdict(list)
        for (address, database, command, error), duration in recorded:
            by_command[command].append(
                CommandSeries(server=address_text(address), database=database, error=error, duration=duration)
            )
        return {command: _summary(series) for command, series in sorted(by_command.items())}

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Count a command that the server answered."""
        self._record((event.connection_id, event.database_name, event.command_name, None), event.duration_micros)

    def failed(self, event: CommandFailedEvent) -> None:
        """Count a command that failed."""
        error = error_text(event.failure)
        self._record((event.connection_id, event.database_name, event.command_name, error), event.duration_micros)

    def started(self, event: CommandStartedEvent) -> None:
        """Nothing: the driver measures how long a command takes."""

    def _record(self, key: _Key, microseconds: int) -> None:
        recorder = self._series.get(key)
        if recorder is None:
            recorder = self._begin(key)
        seconds = microseconds / 1e6
        buckets = recorder.buckets
        index = bisect_left(BOUNDS, seconds)
        # No call inside: a thread that is interrupted there lets all others queue up.
        with self._lock:
            buckets[index] += 1
            recorder.seconds += seconds
            if seconds > recorder.longest:
                recorder.longest = seconds

    def _begin(self, key: _Key) -> Recorder:
        address, database, command, error = key
        with self._lock:
            if database not in self._databases:
                if len(self._databases) < DATABASES:
                    self._databases.add(database)
                else:
                    key = (address, _OTHER, command, error)
            if key not in self._series and len(self._series) >= SERIES:
                key = ((_OTHER, None), _OTHER, _OTHER, None if error is None else _OTHER)
            return self._series.setdefault(key, Recorder())


def error_text(failure: Mapping[str, Any] | None) -> str:
    """What a command failed with: the server's code, else the class of the exception.

    Args:
        failure: As in ``CommandFailedEvent``.
    """
    told = failure or {}
    code = told.get("code")
    return str(code) if code is not None else str(told.get("errtype", "unknown"))


def _summary(series: list[CommandSeries]) -> CommandStats:
    return CommandStats(
        count=sum(each.duration.count for each in series),
        failures=sum(each.duration.count for each in series if each.error is not None),
        duration=Distribution.total(each.duration for each in series),
        series=tuple(series),
    )
