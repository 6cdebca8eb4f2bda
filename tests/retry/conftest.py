from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from .subjects import Subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@pytest_asyncio.fixture(params=["motor", "pymongo", "sync"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """A fresh pool on each backend in turn."""
    made = Subject(request.param)
    yield made
    await made.close(drain=0, timeout=3)
