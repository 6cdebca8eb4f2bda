from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.faults.proxy import FaultProxy

from .subjects import HealthSubject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest_asyncio.fixture(params=["motor", "pymongo", "sync"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[HealthSubject]:
    """A fresh pool on each backend in turn."""
    made = HealthSubject(request.param)
    yield made
    await made.close(drain=0, timeout=1.5)


@pytest.fixture
def proxy(mongod: Any) -> Iterator[FaultProxy]:
    with FaultProxy((mongod.host, mongod.port)) as running:
        yield running
