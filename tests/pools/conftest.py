from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from async_mongo_pool.lifecycle import Lifecycle

from .subjects import Subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(params=["motor", "pymongo", "sync"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """A fresh pool on each backend in turn."""
    made = Subject(request.param)
    yield made
    await made.close(drain=0, timeout=3)


@pytest_asyncio.fixture(params=["motor", "pymongo"])
async def async_subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """A fresh pool on each asynchronous backend in turn."""
    made = Subject(request.param)
    yield made
    await made.close(drain=0, timeout=3)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def settle() -> None:
    """Let every callback that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def lifecycle() -> Lifecycle:
    return Lifecycle("pool", "motor", ("motor", "pymongo"))
