"""Bad input: one clear error that names the option, the value and the cure; nothing is changed or left."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import socket
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from async_mongo_pool import AsyncMongoDBConnectionPool, PoolConfigurationError, PoolError, PoolLoopError
from async_mongo_pool.testing import Mongod, User
from tests.timing import now

from .subjects import NO_SERVER, Subject, ping

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "geheim-42-geheim"

CONFIGURATION_ERRORS: list[tuple[Any, dict[str, Any], str]] = [
    ("127.0.0.1:27017", {}, "mongodb://"),
    ("http://127.0.0.1/", {}, "mongodb://"),
    ("mongodb://", {}, "host"),
    ("mongodb://127.0.0.1:port/", {}, "port"),
    (f"mongodb://user:{SECRET}/x@127.0.0.1/", {}, "percent-encoded|quote_plus"),
    (f"mongodb://user:{SECRET}@x@127.0.0.1/", {}, "percent-encoded|quote_plus"),
    ("mongodb://127.0.0.1/?maxPoolSizes=5", {}, "maxPoolSize"),
    ("mongodb://127.0.0.1/?maxPoolSize=many", {}, "maxPoolSize"),
    ("mongodb://127.0.0.1/", {"maxPoolSise": 5}, "maxPoolSise.*maxPoolSize"),
    ("mongodb://127.0.0.1/", {"maxPoolSize": "many"}, "maxPoolSize.*many"),
    ("mongodb://127.0.0.1/", {"maxPoolSize": 5, "minPoolSize": 9}, "minPoolSize.*maxPoolSize"),
    ("mongodb://127.0.0.1/", {"writeConcern": {"w": 1}}, "w, wTimeoutMS"),
    ("mongodb://127.0.0.1/", {"ssl_context": object()}, "tls"),
    ("mongodb://127.0.0.1/", {"preset": "fastest"}, "production"),
    ("mongodb://127.0.0.1/", {"retire_after": -1}, "retire_after"),
    ("mongodb://127.0.0.1/", {"tlsCertificateKeyFilePassword": 5}, "tlsCertificateKeyFilePassword"),
    ("mongodb+srv://", {}, "host"),
    (5, {}, "connection.*int|int.*connection"),
    ("mongodb://127.0.0.1/", {"timeout": 0}, "timeout=0 .*seconds above 0"),
    ("mongodb://127.0.0.1/", {"timeout": "soon"}, "timeout='soon'"),
    ("mongodb://127.0.0.1/", {"tls": True, "tlsCAFile": "no-such-file.pem"}, "tlsCAFile='no-such-file.pem'"),
]


@pytest.mark.core
@pytest.mark.parametrize(("uri", "options", "told"), CONFIGURATION_ERRORS)
async def test_what_cannot_be_used_is_named(
    subject: Subject, mongodb_uri: str, uri: Any, options: dict[str, Any], told: str
) -> None:
    client = await subject.initialize(mongodb_uri)
    with pytest.raises(PoolConfigurationError, match=f"(?s){told}") as raised:
        await subject.initialize(uri, **options)
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert subject.pool.get_client() is client
    assert (await subject.call(ping, client))["ok"] == 1


@pytest.mark.core
async def test_a_refused_port_says_refused_in_time(subject: Subject) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        began = now()
        with pytest.raises(ServerSelectionTimeoutError, match=f"refused.*{port}|{port}.*refused"):
            await subject.initialize(f"mongodb://127.0.0.1:{port}/", timeout=1)
    assert now() - began < 1.5


async def test_a_silent_port_is_bounded(subject: Subject) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        began = now()
        with pytest.raises(ServerSelectionTimeoutError):
            await subject.initialize(f"mongodb://127.0.0.1:{deaf.getsockname()[1]}/", timeout=0.5)
        assert now() - began < 1.25


async def test_an_unknown_host_says_so(subject: Subject) -> None:
    with pytest.raises(PyMongoError, match="does not resolve"):
        await subject.initialize("mongodb://no-such-host.invalid/", timeout=2)


async def test_a_missing_srv_record_says_so(subject: Subject) -> None:
    began = now()
    with pytest.raises(PyMongoError, match=r"(?i)SRV|DNS|resolve|resolution|connect"):
        await subject.initialize("mongodb+srv://no-such-cluster.example.invalid/", timeout=2)
    assert now() - began < 3


@pytest.fixture(scope="module")
def guarded_server() -> Iterator[Mongod]:
    with Mongod(auth=True, users=[User("reader", SECRET, roles=("readAnyDatabase",))]) as server:
        yield server


async def test_a_wrong_password_names_the_cure_and_not_the_password(
    subject: Subject, guarded_server: Mongod, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"{guarded_server.host}:{guarded_server.port}"
    with pytest.raises(OperationFailure, match="check the user name, the password and authSource") as raised:
        await subject.initialize(f"mongodb://reader:{SECRET}-wrong@{address}/")
    assert raised.value.code == 18
    text = "".join(traceback.format_exception(raised.value)) + caplog.text + repr(raised.value.details)
    assert SECRET not in text
    assert subject.pool.get_client() is None


async def test_the_right_password_is_shown_nowhere(
    subject: Subject, guarded_server: Mongod, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "async_mongo_pool")
    address = f"{guarded_server.host}:{guarded_server.port}"
    await subject.initialize(f"mongodb://reader:{SECRET}@{address}/")
    shown = [
        repr(subject.pool()),
        repr(await subject.stats()),
        repr(subject.pool.explain()),
        repr(subject.pool._lifecycle.__dict__),
        caplog.text,
    ]
    assert SECRET not in "".join(shown)


@pytest.fixture(scope="module")
def tls_server() -> Iterator[Mongod]:
    with Mongod(tls=True) as server:
        yield server


async def test_plain_against_tls_names_tls(subject: Subject, tls_server: Mongod) -> None:
    with pytest.raises(PyMongoError, match="tls=true"):
        await subject.initialize(f"mongodb://{tls_server.host}:{tls_server.port}/", timeout=1)


async def test_tls_against_plain_names_tls(subject: Subject, mongod: Mongod) -> None:
    with pytest.raises(PyMongoError, match="TLS"):
        await subject.initialize(f"mongodb://{mongod.host}:{mongod.port}/?tls=true", timeout=1)


async def test_an_untrusted_certificate_names_the_authority(subject: Subject, tls_server: Mongod) -> None:
    with pytest.raises(PyMongoError, match="tlsCAFile"):
        await subject.initialize(f"mongodb://localhost:{tls_server.port}/?tls=true", timeout=1)


@pytest.mark.core
def test_two_live_loops_on_one_asyncmongoclient(mongodb_uri: str) -> None:
    subject = Subject("pymongo")
    opened, done = threading.Event(), threading.Event()

    async def owner() -> None:
        await subject.initialize(mongodb_uri)
        opened.set()
        await asyncio.to_thread(done.wait, 10)
        await subject.close()

    thread = threading.Thread(target=lambda: asyncio.run(owner()))
    thread.start()
    assert opened.wait(10)
    try:
        with pytest.raises(PoolLoopError, match=r"running event loop .*running event loop .*named"):
            asyncio.run(subject.initialize(mongodb_uri))
    finally:
        done.set()
        thread.join(10)


async def test_an_interrupted_start_leaves_no_client(async_subject: Subject) -> None:
    # What is left, if anything, fails this test in the suite's watch over threads, tasks and sockets.
    for uri in ("mongodb://127.0.0.1:1/", "mongodb://no-such-host.invalid/"):
        with pytest.raises((PoolError, PyMongoError)):
            await async_subject.initialize(uri, timeout=0.2)
    assert AsyncMongoDBConnectionPool.get_client() is None


def frames_of_ours(error: BaseException) -> str:
    """Our part of a traceback as tools show it that print local variables."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame.locals for frame in shown.stack if f"{os.sep}async_mongo_pool{os.sep}" in frame.filename]
    assert ours
    return repr(ours)


@pytest.mark.core
@pytest.mark.parametrize(
    ("connection", "options"),
    [
        (f"mongodb://user:{SECRET}@127.0.0.1:1/", {"timeout": 0.1}),
        (f"mongodb://user:{SECRET}@127.0.0.1:1/", {"maxPoolSise": 5}),
        (f"mongodb://user:{SECRET}@127.0.0.1:1/", {"backend": "tornado"}),
        (lambda: f"mongodb://user:{SECRET}@127.0.0.1:1/?wrong=1", {}),
        ("mongodb://127.0.0.1:1/", {"username": "user", "password": SECRET, "timeout": 0.1}),
        ("mongodb://127.0.0.1:1/", {"username": "user", "password": SECRET, "maxPoolSise": 5}),
    ],
)
async def test_no_local_variable_of_ours_shows_a_secret(
    subject: Subject, connection: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(PyMongoError) as raised:
        await subject.call(subject.pool.initialize, connection, **{**subject.choice, **options})
    assert SECRET not in frames_of_ours(raised.value)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


@pytest.mark.core
def test_no_local_variable_of_configure_shows_a_secret() -> None:
    with pytest.raises(PyMongoError) as raised:
        Subject("motor").pool.configure(f"mongodb://user:{SECRET}@127.0.0.1:1/", maxPoolSise=5)
    assert SECRET not in frames_of_ours(raised.value)


@pytest.mark.core
@pytest.mark.parametrize(
    "misplaced", ["backend", "timeout", "retry_for", "on_failure", "preset", "maxPoolSize", "journal"]
)
async def test_an_address_in_a_wrong_place_is_not_quoted(subject: Subject, misplaced: str) -> None:
    options = {**subject.choice, misplaced: f"mongodb://user:{SECRET}@127.0.0.1/"}
    with pytest.raises(PoolConfigurationError, match=misplaced) as raised:
        await subject.call(subject.pool.initialize, NO_SERVER, **options)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


async def test_an_address_in_place_of_seconds_is_not_quoted(subject: Subject) -> None:
    with pytest.raises(PoolConfigurationError, match=r"drain=\*\*\*") as raised:
        await subject.call(subject.pool.close, drain=f"mongodb://user:{SECRET}@127.0.0.1/")
    assert SECRET not in str(raised.value)


@pytest.mark.core
@pytest.mark.parametrize("sort", ["function", "coroutine function", "partial", "object"])
async def test_a_callable_that_shows_its_secret_shows_it_in_no_frame_of_ours(subject: Subject, sort: str) -> None:
    wrong = f"mongodb://user:{SECRET}@127.0.0.1:1/?wrong=1"

    async def later() -> str:
        return wrong

    asked: dict[str, Any] = {
        "function": lambda: wrong,
        "coroutine function": later,
        "partial": functools.partial(str, wrong),
        "object": Vault(wrong),
    }
    with pytest.raises(PyMongoError) as raised:
        await subject.call(subject.pool.initialize, asked[sort], **subject.choice)
    assert SECRET not in frames_of_ours(raised.value)


@pytest.mark.core
@pytest.mark.parametrize("scope", [False, True])
async def test_a_callable_that_quotes_its_address_gives_it_away_in_no_frame(subject: Subject, scope: bool) -> None:
    def fail() -> str:
        raise ValueError(f"cannot read mongodb://user:{SECRET}@127.0.0.1/")

    with pytest.raises(ValueError, match=r"cannot read mongodb://user:\*\*\*@127\.0\.0\.1/") as raised:
        await (subject.scope(fail).__aenter__() if scope else subject.initialize(fail))
    assert SECRET not in frames_of_ours(raised.value)
    assert "fail" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]


@dataclasses.dataclass
class Vault:
    held: str

    def __call__(self) -> str:
        return self.held
