"""Scopes: counted, shared, and closed by the last one out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool import PoolConfigurationConflict

from .subjects import NO_SERVER, Subject, ping

if TYPE_CHECKING:
    from collections.abc import Callable

    from async_mongo_pool.testing import Server


@pytest.mark.core
async def test_a_scope_opens_and_closes(subject: Subject, mongodb_uri: str) -> None:
    async with subject.scope(mongodb_uri) as client:
        assert subject.pool.get_client() is client
        assert (await subject.call(ping, client))["ok"] == 1
    assert subject.pool.get_client() is None


@pytest.mark.core
@pytest.mark.parametrize("first_out", ["first", "second"])
async def test_overlapping_scopes_in_either_order(
    subject: Subject,
    mongod: Server,
    mongodb_uri: str,
    first_out: str,
    wait_until_async: Callable[..., Any],
) -> None:
    left = asyncio.Event()
    entered = asyncio.Event()

    async def leaves_first() -> None:
        async with subject.scope(mongodb_uri) as client:
            await entered.wait()
            await subject.call(ping, client)
        left.set()

    async def leaves_last() -> None:
        async with subject.scope(mongodb_uri) as client:
            entered.set()
            await left.wait()
            assert subject.pool.get_client() is client
            assert (await subject.call(ping, client))["ok"] == 1

    tasks = [leaves_first(), leaves_last()] if first_out == "first" else [leaves_last(), leaves_first()]
    await asyncio.gather(*tasks)
    assert subject.pool.get_client() is None
    await wait_until_async(lambda: not mongod.connections(appname=subject.name), message="connections are left")


async def test_a_scope_inside_an_open_pool_does_not_close_it(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    async with subject.scope(mongodb_uri) as shared:
        assert shared is client
    assert subject.pool.get_client() is client


async def test_a_scope_that_differs_is_a_conflict(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri, maxPoolSize=20)
    with pytest.raises(PoolConfigurationConflict, match="differ: maxPoolSize") as raised:
        async with subject.scope(mongodb_uri, maxPoolSize=30):
            pytest.fail("the scope was entered")
    assert "named(" in str(raised.value)
    assert subject.pool.get_client() is client


async def test_a_scope_that_cannot_open_leaves_nothing(subject: Subject, mongodb_uri: str) -> None:
    with pytest.raises(Exception, match="refused"):
        async with subject.scope(NO_SERVER):
            pytest.fail("the scope was entered")
    async with subject.scope(mongodb_uri):
        pass
    assert subject.pool.get_client() is None


async def test_an_error_in_the_block_closes_too(subject: Subject, mongodb_uri: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with subject.scope(mongodb_uri):
            raise ZeroDivisionError
    assert subject.pool.get_client() is None


async def test_a_pool_closed_inside_a_scope_may_be_opened_again(subject: Subject, mongodb_uri: str) -> None:
    async with subject.scope(mongodb_uri):
        await subject.close()
        client = await subject.initialize(mongodb_uri)
    # That one belongs to whoever initialized it.
    assert subject.pool.get_client() is client


async def test_a_scope_with_a_callable_shares_what_is_open(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    async with subject.scope(lambda: mongodb_uri) as shared:
        assert shared is client
    with pytest.raises(PoolConfigurationConflict, match="address"):
        async with subject.scope(lambda: NO_SERVER):
            pytest.fail("the scope was entered")


def test_a_scope_after_a_dead_loop_closes_what_it_opened(mongodb_uri: str) -> None:
    subject = Subject("pymongo")
    asyncio.run(subject.initialize(mongodb_uri))

    async def use() -> None:
        async with subject.scope(mongodb_uri) as client:
            assert (await ping(client))["ok"] == 1

    asyncio.run(use())
    assert subject.pool.get_client() is None
    assert subject.pool._lifecycle.is_idle()
