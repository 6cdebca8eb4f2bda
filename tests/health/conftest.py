from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from .subjects import HealthSubject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@pytest_asyncio.fixture(params=["motor", "pymongo", "sync"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[HealthSubject]:
    """A fresh pool on each backend in turn."""
    made = HealthSubject(request.param)
    yield made
    await made.close(drain=0, timeout=0.5)
