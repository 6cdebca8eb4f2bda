"""``rotate``: what the new client keeps, and who is told."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool import PoolConfig
from async_mongo_pool.asking import Manner, Request
from async_mongo_pool.lifecycle import Lifecycle

from .subjects import Subject, ping

if TYPE_CHECKING:
    from collections.abc import Mapping

OLD = "mongodb://old:secret@127.0.0.1/"
NEW = "mongodb://new:secret@127.0.0.1/"


def in_force(subject: Subject, *names: str) -> dict[str, Any]:
    return {option.name: option.value for option in subject.pool.explain() if option.name in names}


async def test_another_connection_string_keeps_backend_preset_and_options(
    subject: Subject, mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "async_mongo_pool")
    client = await subject.initialize(mongodb_uri, preset="serverless", maxIdleTimeMS=12345)
    before = in_force(subject, "appName", "maxPoolSize", "maxIdleTimeMS")
    rotated = await subject.call(subject.pool.rotate, mongodb_uri)
    assert rotated is not client
    assert type(rotated) is type(client)
    assert in_force(subject, *before) == before
    assert (await subject.call(ping, rotated))["ok"] == 1
    assert "replaced its client; nothing differs" in caplog.text
    await subject.call(subject.pool.rotate, f"{mongodb_uri}?maxIdleTimeMS=23456", appName="another")
    assert in_force(subject, *before) == {**before, "maxIdleTimeMS": 23456, "appName": "another"}
    assert "these differ: appName, maxIdleTimeMS" in caplog.text


@pytest.mark.core
@pytest.mark.parametrize(
    ("connection", "kept"),
    [
        (NEW, {"w": 1}),
        (PoolConfig(mongo_uri=NEW), {"w": 1}),
        (PoolConfig(mongo_uri=NEW, w=2), {}),
        (f"{NEW}?w=2", {}),
        ("mongodb://127.0.0.1/", {"w": 1, "username": "old", "password": "secret"}),
        (lambda: NEW, {"w": 1, "username": "old", "password": "secret"}),
    ],
)
def test_what_the_new_connection_names_itself_is_not_kept(connection: Any, kept: Mapping[str, Any]) -> None:
    lifecycle = Lifecycle("pool", "motor", ("motor", "pymongo"))
    options = {"w": 1, "username": "old", "password": "secret"}
    lifecycle.configure(Request("mongodb://127.0.0.1/", "pymongo", "production", options))
    asking = lifecycle.ask(Request(connection, None, None, {}), Manner(fresh=True))
    assert (asking.backend, asking.request.preset, asking.request.options) == ("pymongo", "production", kept)
    assert asking.request.connection is connection
    # Whoever does not rotate asks for just what is named.
    assert lifecycle.ask(Request(OLD, None, None, {})).request == Request(OLD, None, None, {})


@pytest.mark.core
def test_the_preset_of_a_new_configuration_is_its_own() -> None:
    lifecycle = Lifecycle("pool", "motor", ("motor", "pymongo"))
    lifecycle.configure(Request(OLD, None, "production", {}))
    config = PoolConfig(mongo_uri=NEW, preset="serverless")
    assert lifecycle.ask(Request(config, None, None, {}), Manner(fresh=True)).request.preset == "serverless"


async def test_a_cancellation_that_on_replace_meets_is_its_own(
    async_subject: Subject, mongodb_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = asyncio.ensure_future(asyncio.sleep(60))

    async def stop_the_worker(old: Any, new: Any) -> None:
        worker.cancel()
        await worker

    await async_subject.initialize(mongodb_uri, on_replace=stop_the_worker)
    rotated = await async_subject.pool.rotate()
    assert async_subject.pool.get_client() is rotated
    assert "on_replace failed" in caplog.text


async def test_whoever_is_cancelled_during_on_replace_is_cancelled(
    async_subject: Subject, mongodb_uri: str
) -> None:
    begun = asyncio.Event()

    async def linger(old: Any, new: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    await async_subject.initialize(mongodb_uri, on_replace=linger)
    rotating = asyncio.ensure_future(async_subject.pool.rotate())
    await begun.wait()
    rotating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rotating
