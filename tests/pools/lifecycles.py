"""Lifecycles without I/O: what asks, leads and opens in these tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from async_mongo_pool.asking import Asking, Request
from async_mongo_pool.backends.handle import ClientHandle
from async_mongo_pool.lifecycle import Join, Lead, Lifecycle, Reuse

if TYPE_CHECKING:
    import asyncio

URI = "mongodb://127.0.0.1/"


def request(uri: str | None = URI, **options: Any) -> Request:
    return Request(uri, None, None, options)


def handle_for(asking: Asking, loop: asyncio.AbstractEventLoop | None = None) -> ClientHandle:
    """A handle that no driver stands behind: the lifecycle only carries it."""
    assert asking.settings is not None
    handle = ClientHandle("pool", asking.settings)
    handle.backend = asking.backend
    handle.client = SimpleNamespace(_closed=False)
    handle.loop = loop
    return handle


DEADLINE = 1000.0


def claim(
    lifecycle: Lifecycle,
    asking: Asking,
    arrival: int | None = None,
    *,
    deadline: float = DEADLINE,
    here: asyncio.AbstractEventLoop | None = None,
    ticket: object | None = None,
) -> Reuse | Join | Lead:
    since = lifecycle.arrival() if arrival is None else arrival
    with lifecycle.calling(here, ticket) as call:
        return lifecycle.claim(asking, since, deadline, call)


def lead(lifecycle: Lifecycle, asking: Asking, ticket: object | None = None) -> Lead:
    step = claim(lifecycle, asking, ticket=ticket)
    assert isinstance(step, Lead)
    return step


def open_pool(
    lifecycle: Lifecycle, asking: Asking, ticket: object | None = None, loop: Any = None
) -> ClientHandle:
    step = lead(lifecycle, asking, ticket)
    handle = handle_for(asking, loop)
    lifecycle.publish(step.attempt, asking, handle)
    lifecycle.settle(step.attempt)
    return handle
