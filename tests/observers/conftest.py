from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from .clients import Observed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest_asyncio.fixture(params=["motor", "pymongo", "sync"])
async def observe(request: pytest.FixtureRequest, mongodb_uri: str) -> AsyncIterator[Callable[..., Observed]]:
    """`observe(**pool_options)`: an observed client of each backend in turn."""
    made: list[Observed] = []

    def make(**options: Any) -> Observed:
        made.append(Observed(request.param, mongodb_uri, **options))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[..., list[str]]:
    """`log(word, level=...)`: the messages of the pool's logger that contain a word."""
    caplog.set_level("DEBUG", logger="async_mongo_pool")

    def messages(word: str = "", level: str | None = None) -> list[str]:
        return [
            record.getMessage()
            for record in caplog.records
            if record.name == "async_mongo_pool"
            and word in record.getMessage()
            and level in (None, record.levelname)
        ]

    return messages
