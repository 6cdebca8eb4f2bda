"""Log handlers of the user: slow ones, and such as write to the very database they tell of."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from tests.timing import now

from .clients import Observed, log_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


async def test_a_slow_handler_slows_no_operation(
    observe: Callable[..., Observed], wait_until_async: Callable[..., Any]
) -> None:
    observed = observe(slow_checkout_ms=1, slow_command_ms=1)
    released = threading.Event()
    handler = _Blocking(released)
    logger = logging.getLogger("async_mongo_pool")
    logger.addHandler(handler)
    try:
        await observed.sleep_on_server(0.05)
        await wait_until_async(handler.entered.is_set, 5, "the handler to be called")
        began = now()
        for _ in range(20):
            await observed.sleep_on_server(0.005)
        assert now() - began < 3
    finally:
        released.set()
        logger.removeHandler(handler)


class _Blocking(logging.Handler):
    def __init__(self, released: threading.Event) -> None:
        super().__init__()
        self.entered = threading.Event()
        self._released = released

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        self._released.wait(20)


async def test_a_handler_that_writes_to_the_same_database_does_not_report_on_itself(
    mongodb_uri: str,
    mongodb_database: str,
    wait_until_async: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = logging.getLogger("async_mongo_pool")
    async with Observed(
        "sync", mongodb_uri, slow_command_ms=0.001, slow_checkout_ms=0.001, client={"maxPoolSize": 1}
    ) as observed:
        handler = _IntoDatabase(observed.client[mongodb_database].log)
        logger.addHandler(handler)
        try:
            await observed.call(observed.client.admin.command, "ping")
            await wait_until_async(lambda: handler.written >= 2, 5, "the lines in the database")
            observed.observers.stop()
            await wait_until_async(lambda: not log_threads(observed), 5, "the thread to end")
        finally:
            logger.removeHandler(handler)
    assert not any("insert" in record.getMessage() for record in caplog.records)
    assert handler.written == 2


class _IntoDatabase(logging.Handler):
    def __init__(self, collection: Any) -> None:
        super().__init__(logging.WARNING)
        self.written = 0
        self._collection = collection

    def emit(self, record: logging.LogRecord) -> None:
        self._collection.insert_one({"line": record.getMessage()})
        self.written += 1
