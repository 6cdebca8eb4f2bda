"""Inputs that need servers: logins, right and wrong, hooks that raise, operations that meet a new password."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from async_mongo_pool.exporters import opentelemetry, prometheus
from async_mongo_pool.testing import Certificates, Mongod
from tests.cli.command import run
from tests.pools.subjects import Subject, ping

from .material import Credentials
from .record import Shown
from .refused import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .record import Record

    Kind = Callable[["Record", "Ground"], Awaitable[None]]

__all__ = ["KINDS", "Ground"]

_QUICK = {
    "minPoolSize": 0,
    "serverSelectionTimeoutMS": 500,
    "heartbeatFrequencyMS": 500,
    "retire_after": 0.001,
    "retire_limit": 0.2,
}
_NOWHERE = "127.0.0.1:1"


class Ground:
    """The servers, and one pool of each backend, for all inputs."""

    def __init__(self) -> None:
        self.mongod = Mongod(auth=True)
        self.secured = Mongod(tls=Certificates())
        self.registry = CollectorRegistry()
        self.reader = InMemoryMetricReader()
        self._numbers = 0

    def __enter__(self) -> Ground:
        self.mongod.start()
        self.secured.start()
        self.subjects = {backend: Subject(backend) for backend in BACKENDS}
        self.root: MongoClient[dict[str, Any]] = MongoClient(self.mongod.uri, maxPoolSize=2)
        self.provider = MeterProvider([self.reader])
        prometheus.register(registry=self.registry)
        self.instrumented = opentelemetry.instrument(meter_provider=self.provider)
        return self

    def __exit__(self, *_: object) -> None:
        self.instrumented.uninstrument()
        prometheus.unregister(self.registry)
        self.provider.shutdown()
        self.root.close()
        self.mongod.stop()
        self.secured.stop()

    @property
    def address(self) -> str:
        """Of the server that asks for a login."""
        return f"{self.mongod.host}:{self.mongod.port}"

    def user(self, record: Record, **more: Any) -> tuple[str, str]:
        """A new user with a new password; a plain one where the server takes no other."""
        self._numbers += 1
        name = f"user{self._numbers}"
        for plain in (record.draw.random() < 0.3, True):
            password = record.secret(plain=plain)
            with suppress(OperationFailure):
                self.root.admin.command("createUser", name, pwd=password, roles=["readWriteAnyDatabase"], **more)
                return name, password
        raise AssertionError("no user could be made")

    def forget(self, name: str) -> None:
        """Remove a user."""
        self.root.admin.command("dropUser", name)

    def subject(self, record: Record) -> Subject:
        """A pool that is not open."""
        return self.subjects[record.draw.choice(BACKENDS)]


def uri(name: str, password: str, address: str, query: str = "") -> str:
    """A connection string that works."""
    return f"mongodb://{quote(name)}:{quote(password, safe='')}@{address}/{query}"


def _given(record: Record, ground: Ground, name: str, password: str) -> tuple[Any, dict[str, Any]]:
    """A login in the connection string, in arguments, or from a callable."""
    address = uri(name, password, ground.address)
    plain = f"mongodb://{ground.address}/"
    return record.draw.choice(
        (
            (address, {}),
            (plain, {"username": name, "password": password}),
            (f"mongodb://{name}:{record.secret(plain=True)}@{ground.address}/", {"password": password}),
            (Credentials(password, lambda: address), {}),
        )
    )


async def show_pool(record: Record, ground: Ground, subject: Subject) -> None:
    """Every way to look at an open pool."""
    pool = subject.pool
    record.show("repr of a pool", pool(), pool, vars(pool._lifecycle))
    record.show("get_pool_stats()", await subject.call(pool.get_pool_stats, server=True))
    record.text("get_pool_stats()", json.dumps(await subject.stats(), default=str))
    record.show("explain()", pool.explain())
    record.show("snapshot(), holders()", pool.snapshot(), pool.snapshot().as_dict(), pool.holders())
    readiness = await subject.call(pool.readiness)
    record.show("liveness, readiness", pool.liveness(), readiness, readiness.as_dict())
    record.text("Prometheus", generate_latest(ground.registry).decode())
    record.text("OpenTelemetry", str(ground.reader.get_metrics_data()))
    handle = pool._lifecycle.handle()
    if handle is not None:
        record.show("repr of the driver's client", handle.client, handle.client["db"]["c"])
        record.show("repr of a pool", handle, vars(handle))


async def _initialize(record: Record, subject: Subject, connection: Any, **options: Any) -> Any:
    """Open the pool; a failure is shown, and the answer is None."""
    try:
        return await subject.initialize(connection, **{**_QUICK, **options})
    except Exception as error:
        record.error(error)
        return None


async def right_login(record: Record, ground: Ground) -> None:
    """The pool opens; everything is looked at."""
    subject = ground.subject(record)
    name, password = ground.user(record)
    connection, options = _given(record, ground, name, password)
    options |= record.draw.choice(({}, {"command_stats": True, "heartbeat_stats": True}, {"slow_checkout_ms": 1}))
    client = await _initialize(record, subject, connection, **options)
    if client is not None:
        record.show("answers", await subject.call(ping, client))
    await show_pool(record, ground, subject)
    await subject.close(drain=0)
    ground.forget(name)


async def wrong_login(record: Record, ground: Ground) -> None:
    """The server refuses the password, the user or the mechanism."""
    subject = ground.subject(record)
    name, password = ground.user(record, mechanisms=["SCRAM-SHA-256"])
    wrong = record.secret()
    address, tried = ground.address, record.draw.randrange(6)
    connection = (
        uri(name, wrong, address),
        uri("nobody", password, address),
        uri(name, password, address, "?authMechanism=SCRAM-SHA-1"),
        uri(name, password, address, "?authMechanism=PLAIN"),
        uri(name, password, address, "?authMechanism=MONGODB-AWS"),
        uri(name, password, address, "?authSource=elsewhere"),
    )[tried]
    assert await _initialize(record, subject, connection, retry_for=record.draw.choice((None, 0.1))) is None
    await show_pool(record, ground, subject)
    ground.forget(name)


async def unreachable(record: Record, ground: Ground) -> None:
    """Nobody listens; the pool does not open, or opens without a server."""
    subject = ground.subject(record)
    options: dict[str, Any] = {"timeout": 0.05, "serverSelectionTimeoutMS": 50}
    how = record.draw.choice(({}, {"retry_for": 0.05}, {"on_failure": "degraded"}))
    client = await _initialize(record, subject, uri("u", record.secret(), _NOWHERE), **options, **how)
    if client is not None:
        await _operation(record, subject, client)
    await show_pool(record, ground, subject)
    await subject.close(drain=0, timeout=1)


async def raising_hooks(record: Record, ground: Ground) -> None:
    """What the user gave to be called raises, with the secrets that it knows in its text."""
    subject = ground.subject(record)
    name, password = ground.user(record)
    text = record.draw.choice((password, quote(password, safe=""), repr(password), uri(name, password, "h")))

    def fail(*_: Any) -> Any:
        raise record.draw.choice((ValueError, RuntimeError, OSError))(f"hook: {text}")

    connection, options = _given(record, ground, name, password)
    # Not listeners: what they raise the driver writes to sys.stderr by itself.
    hooks = {"on_replace": fail}
    if await _initialize(record, subject, connection, **options, **hooks) is not None:
        await _initialize(record, subject, connection, **options, **hooks, appName="another")
        with suppress(PyMongoError):
            await subject.call(
                subject.pool.run, partial(_lost, text), idempotent=True, attempts=2, on_give_up=fail
            )
    await show_pool(record, ground, subject)
    await subject.close(drain=0)
    ground.forget(name)


def _lost(text: str, _client: Any) -> Any:
    raise AutoReconnect(f"connection lost: {text}")


async def changes(record: Record, ground: Ground) -> None:
    """Rotations and scopes that fail while the pool is open and goes on."""
    subject = ground.subject(record)
    name, password = ground.user(record)
    connection, options = _given(record, ground, name, password)
    if await _initialize(record, subject, connection, **options) is None:
        # Too slow today: nothing is open, and what the vault will say below was never seen.
        await subject.close(drain=0)
        return
    wrong, other = record.secret(), uri(name, password, ground.address)

    def failing() -> str:
        raise ValueError(f"the vault answered {other} {password}")

    tried = record.draw.choice(
        ({"connection": uri(name, wrong, ground.address)}, {"connection": failing}, {"password": wrong})
    )
    try:
        await subject.call(subject.pool.rotate, tried.pop("connection", None), **tried, **_QUICK)
    except Exception as error:
        record.error(error)
    try:
        async with subject.scope(uri("u", wrong, ground.address), appName="x", maxPoolSize=3):
            pass
    except Exception as error:
        record.error(error)
    await show_pool(record, ground, subject)
    await subject.close(drain=0)
    ground.forget(name)


async def changed_password(record: Record, ground: Ground) -> None:
    """Operations of the user's meet a server that takes the password no more."""
    subject = ground.subject(record)
    name, password = ground.user(record)
    client = await _initialize(record, subject, uri(name, password, ground.address), maxPoolSize=3)
    ground.root.admin.command("updateUser", name, pwd=record.secret(plain=True))
    try:
        if client is not None:
            await asyncio.gather(*(_operation(record, subject, client) for _ in range(3)))
            with suppress(PyMongoError):
                await subject.call(subject.pool.run, ping, idempotent=True, attempts=2)
        await show_pool(record, ground, subject)
    finally:
        await subject.close(drain=0)
        ground.forget(name)


async def _operation(record: Record, subject: Subject, client: Any) -> None:
    try:
        await subject.call(client.db.c.find_one, {"x": re.compile("x")})
    except Exception as error:
        # The error is the driver's, raised to the user: its own frames are its own.
        record.error(error, Shown.ours, outlet="operation's error")


async def key_files(record: Record, ground: Ground) -> None:
    """A password of a key file that fits nothing, against a server with TLS."""
    subject = ground.subject(record)
    files = ground.secured.tls_files
    assert files is not None
    options: dict[str, Any] = {
        "tls": True,
        "tlsCAFile": str(files.ca_file),
        "tlsCertificateKeyFile": str(record.draw.choice((files.client_file, files.ca_file, "no-such-file"))),
        "tlsCertificateKeyFilePassword": record.secret(),
    }
    if record.draw.random() < 0.3:
        options |= {"tlsInsecure": True}
    connection = f"mongodb://{ground.secured.host}:{ground.secured.port}/"
    client = await _initialize(record, subject, connection, timeout=1, **options)
    if client is not None:
        await _operation(record, subject, client)
    await show_pool(record, ground, subject)
    await subject.close(drain=0)


async def command_line(record: Record, ground: Ground) -> None:
    """``top`` and ``demo`` as processes of their own."""
    name, password = ground.user(record)
    right, wrong = uri(name, password, ground.address), uri(name, record.secret(), ground.address)
    bad = f"mongodb://u:{record.secret()}/@h"
    arguments: tuple[str, ...] = record.draw.choice(
        (
            ("top", "--once", "--json", "--uri", right),
            ("top", "--once", "--uri", wrong),
            ("top", "--once", "--backend", "sync", "--uri", bad),
            ("top", "--demo", "--uri", right),
            ("top", right),
            ("top", "--uri", right, "--interval", wrong),
            ("top", f"--url={right}"),
            ("demo", "--seconds", "0.1", "--tasks", "2", "--uri", wrong),
            ("demo", "--uri", bad),
            ("demo", right),
            (right,),
        )
    )
    done = await asyncio.to_thread(run, *arguments)
    record.text("the command line's output", done.stdout)
    record.text("the command line's messages", done.stderr)
    ground.forget(name)


KINDS: dict[str, tuple[Kind, int]] = {
    "servers: right login": (right_login, 30),
    "servers: wrong login": (wrong_login, 20),
    "servers: unreachable": (unreachable, 10),
    "servers: raising hooks": (raising_hooks, 15),
    "servers: failing rotate and scope": (changes, 15),
    "servers: changed password": (changed_password, 7),
    "servers: key files": (key_files, 10),
    "servers: command line": (command_line, 2),
}
"""Each kind and its share."""
