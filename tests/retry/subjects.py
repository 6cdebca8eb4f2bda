"""The pools of these tests, on each backend from one text."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from pymongo.monitoring import CommandListener

from tests.pools import subjects

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.retry_stats import RetryStats


class Subject(subjects.Subject):
    """A pool that retries; functions given to it are asynchronous, and run blocking in the twin."""

    def another(self) -> Subject:
        return Subject(self.backend)

    async def run(self, function: Callable[[Any], Any], **terms: Any) -> Any:
        return await self.call(self.pool.run, function, **terms)

    def stats(self) -> RetryStats:  # type: ignore[override]
        stats: RetryStats = self.pool.retry_stats()
        return stats

    def made(self, function: Callable[..., Any]) -> Any:
        """The same function as each twin wants it: a coroutine function, or a plain one."""
        if not self.is_async:
            return function

        async def asynchronous(*arguments: Any, **keywords: Any) -> Any:
            result = function(*arguments, **keywords)
            return await result if inspect.isawaitable(result) else result

        return asynchronous


class Commands(CommandListener):
    """Writes down the commands that are sent."""

    def __init__(self) -> None:
        self.started_names: list[str] = []
        self.failed_names: list[str] = []

    def count(self, name: str) -> int:
        return self.started_names.count(name)

    def started(self, event: Any) -> None:
        self.started_names.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        self.failed_names.append(event.command_name)


async def settled(task: asyncio.Task[Any]) -> BaseException | None:
    """Wait for the end of a task and return what it raised."""
    await asyncio.wait({task})
    return asyncio.CancelledError() if task.cancelled() else task.exception()
