"""``initialize`` against a server that comes late or not at all, and ``rotate``."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from async_mongo_pool import PoolConfigurationError
from async_mongo_pool.patience import Patience
from async_mongo_pool.testing import Mongod, User
from async_mongo_pool.testing.ports import PortReservation
from tests.timing import now

from .subjects import NO_SERVER, Subject, ping

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def free_port() -> int:
    reservation = PortReservation()
    reservation.release()
    return reservation.port


UNREACHABLE = ServerSelectionTimeoutError("h:1: [Errno 111] Connection refused")


@pytest.mark.core
def test_patience_lasts_as_long_as_it_was_given() -> None:
    clock = Clock()
    patience = Patience(10, clock=clock, pause_after=float)
    pauses = []
    while (pause := patience.pause(UNREACHABLE)) is not None:
        pauses.append(pause)
        clock.now += pause
    assert pauses == [1.0, 2.0, 3.0, 4.0]
    assert not patience.gives_in()


@pytest.mark.core
def test_what_cannot_change_by_itself_is_not_tried_again() -> None:
    patience = Patience(10, clock=Clock())
    assert patience.pause(OperationFailure("Authentication failed.", 18)) is None
    assert patience.pause(PoolConfigurationError("no")) is None
    assert patience.pause(ServerSelectionTimeoutError("h:1: CERTIFICATE_VERIFY_FAILED")) is None


@pytest.mark.core
def test_whoever_accepts_no_server_does_so_in_a_last_attempt() -> None:
    clock = Clock()
    patience = Patience(1, degraded=True, clock=clock, pause_after=lambda failed: 0.1)
    assert not patience.gives_in()
    clock.now += 5
    assert patience.pause(UNREACHABLE) == 0.0
    assert patience.gives_in()
    assert patience.pause(UNREACHABLE) is None


@pytest.mark.core
@pytest.mark.parametrize("bad", [{"retry_for": -1}, {"retry_for": "soon"}, {"on_failure": "ignore"}])
async def test_bad_arguments_are_refused(subject: Subject, bad: dict[str, Any]) -> None:
    with pytest.raises(PoolConfigurationError, match=next(iter(bad))):
        await subject.initialize(NO_SERVER, **bad)


async def test_a_server_that_comes_late_is_waited_for(subject: Subject) -> None:
    port = free_port()
    opening = asyncio.ensure_future(
        subject.initialize(f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=400", retry_for=20)
    )
    await asyncio.sleep(1)
    assert not opening.done()
    with Mongod(port=port):
        client = await opening
        assert (await subject.call(ping, client))["ok"] == 1
        await subject.close()


async def test_patience_ends_and_the_error_names_stage_and_time(subject: Subject) -> None:
    began = now()
    with pytest.raises(ServerSelectionTimeoutError, match=r"in the stage connect after 0\.\d s") as raised:
        await subject.initialize(NO_SERVER, retry_for=1)
    assert 1 <= now() - began < 3
    assert "refused" in str(raised.value)


async def test_a_refused_login_is_not_tried_again(subject: Subject) -> None:
    with Mongod(auth=True) as server:
        began = now()
        with pytest.raises(OperationFailure, match="in the stage authentication"):
            await subject.initialize(f"mongodb://nobody:wrong@{server.host}:{server.port}/", retry_for=30)
        assert now() - began < 5


async def test_a_pool_opened_without_a_server_works_when_one_appears(
    subject: Subject, wait_until_async: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    caplog.set_level(logging.WARNING, "async_mongo_pool")
    client = await subject.initialize(
        f"mongodb://127.0.0.1:{port}/?serverSelectionTimeoutMS=500", on_failure="degraded"
    )
    assert subject.pool.get_client() is client
    assert "no server can be used" in caplog.text
    assert (await subject.stats())["status"] == "error"
    with pytest.raises(PyMongoError):
        await subject.call(ping, client)
    with Mongod(port=port):

        async def is_connected() -> bool:
            return bool((await subject.stats())["status"] == "connected")

        deadline = time.monotonic() + 20
        while not await is_connected():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert (await subject.call(ping, client))["ok"] == 1
        assert await subject.initialize() is client
        await subject.close()


async def test_a_serving_client_is_not_replaced_by_one_without_a_server(
    subject: Subject, mongodb_uri: str
) -> None:
    client = await subject.initialize(mongodb_uri)
    with pytest.raises(PyMongoError):
        await subject.initialize(NO_SERVER, on_failure="degraded")
    assert subject.pool.get_client() is client


async def test_a_caller_with_a_deadline_around_it_does_not_fail_a_patient_one(
    subject: Subject, mongodb_uri: str, wait_until_async: Callable[..., Any]
) -> None:
    answers = iter([NO_SERVER.partition("?")[0], mongodb_uri])
    asked: list[str] = []

    def connection() -> str:
        asked.append(next(answers))
        return asked[-1]

    with subject.pool.operation(timeout=0.3):
        impatient = asyncio.ensure_future(subject.initialize(connection))
    await wait_until_async(lambda: asked)
    client = await asyncio.wait_for(subject.initialize(connection), 20)
    assert (await subject.call(ping, client))["ok"] == 1
    assert len(asked) == 2
    assert isinstance((await asyncio.gather(impatient, return_exceptions=True))[0], PyMongoError)


async def test_rotate_makes_a_new_client_of_the_same_configuration(subject: Subject, mongodb_uri: str) -> None:
    client = await subject.initialize(mongodb_uri)
    rotated = await subject.call(subject.pool.rotate)
    assert rotated is not client
    assert subject.pool.get_client() is rotated
    assert await subject.initialize() is rotated
    assert (await subject.call(ping, client))["ok"] == 1
    assert subject.pool.snapshot().replacements == 1


async def test_rotating_credentials_loses_no_operation(
    subject: Subject, wait_until_async: Callable[..., Any]
) -> None:
    users = [User(name, f"{name}'s secret", ("readWrite",), "shop") for name in ("before", "after")]
    with Mongod(auth=True, users=users) as server:
        current = users[0]

        def connection() -> str:
            return server.uri_for(current)

        await subject.initialize(connection, retire_after=0.3, maxPoolSize=20)
        working = True
        done = 0

        async def work() -> None:
            nonlocal done
            while working:
                shop = subject.pool.get_client()["shop"]
                await subject.call(shop.orders.insert_one, {})
                done += 1

        workers = [asyncio.ensure_future(work()) for _ in range(20)]
        await wait_until_async(lambda: done > 50, message="no operation ran")
        current = users[1]
        rotated = await subject.call(subject.pool.rotate)
        so_far = done
        await wait_until_async(lambda: done > so_far + 50, message="nothing runs after the rotation")
        working = False
        await asyncio.gather(*workers)
        status = await subject.call(rotated.admin.command, "connectionStatus")
        assert [user["user"] for user in status["authInfo"]["authenticatedUsers"]] == ["after"]

        current = User("after", "a wrong secret", ("readWrite",), "shop")
        with pytest.raises(OperationFailure) as raised:
            await subject.call(subject.pool.rotate)
        assert "a wrong secret" not in str(raised.value)
        assert subject.pool.get_client() is rotated
        assert (await subject.call(ping, rotated))["ok"] == 1
        await subject.close()
