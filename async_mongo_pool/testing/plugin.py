"""pytest fixtures: a real MongoDB and pools on it.

pytest loads this module in every run of everybody who has the package installed: what costs time is imported
in the fixtures, and a fixture that no test asks for starts nothing.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from async_mongo_pool.async_pool import AsyncMongoDBConnectionPool
    from async_mongo_pool.sync_pool import MongoDBConnectionPool
    from async_mongo_pool.testing.mongod import Mongod
    from async_mongo_pool.testing.replica_set import ReplicaSet
    from async_mongo_pool.testing.server import Server

_POOL_LIMIT = 60.0
_SERVERS = pytest.StashKey[dict[str, "Server | ReplicaSet"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the servers' logs."""
    parser.getgroup("async_mongo_pool").addoption(
        "--mongod-logs",
        metavar="DIR",
        default="test-logs",
        help="where the log of a mongod goes when a test that used it failed (default: test-logs)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the list of the session's servers."""
    config.stash[_SERVERS] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the logs of the servers that a failed test used, and name them in its report."""
    report = yield
    if report.failed and "async_mongo_pool.testing.mongod" in sys.modules:
        directory = item.config.rootpath / str(item.config.getoption("--mongod-logs"))
        for mongod in _mongods(_used_by(item)):
            report.sections.append(("mongod", _keep_log(mongod, directory)))
    return report


@pytest.fixture(scope="session")
def mongod(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The session's server: that of ``MONGODB_URI``, else a standalone mongod of our own."""
    from async_mongo_pool.testing.mongod import open_server

    with open_server() as server:
        request.config.stash[_SERVERS]["mongod"] = server
        yield server


@pytest.fixture(scope="session")
def mongodb_uri(mongod: Server) -> str:
    """The connection string of the session's server."""
    return mongod.uri


@pytest.fixture(scope="session")
def mongodb_replica_set(request: pytest.FixtureRequest) -> Iterator[ReplicaSet]:
    """The session's replica set of three: always of our own, whatever ``MONGODB_URI`` names."""
    from async_mongo_pool.testing.replica_set import ReplicaSet

    with ReplicaSet() as replica_set:
        # The tests of a busy machine must not be disturbed by elections that they did not ask for.
        replica_set.set_election_timeout(10)
        request.config.stash[_SERVERS]["mongodb_replica_set"] = replica_set
        yield replica_set


@pytest.fixture
def mongodb_database(mongod: Server) -> Iterator[str]:
    """The name of a database of this test alone, dropped afterwards."""
    name = f"test_{uuid4().hex}"
    yield name
    with mongod.client() as client:
        client.drop_database(name)


@pytest.fixture
def mongo_pool(mongodb_uri: str) -> Iterator[type[AsyncMongoDBConnectionPool]]:
    """An open asynchronous pool of this test alone on the session's server, closed afterwards.

    It works in event loops of every scope: its driver, Motor, belongs to none.
    """
    import asyncio

    from async_mongo_pool.async_pool import AsyncMongoDBConnectionPool

    pool = AsyncMongoDBConnectionPool.named(f"test-{uuid4().hex}")
    _in_a_thread(lambda: asyncio.run(_initialize(pool, mongodb_uri)))
    try:
        yield pool
    finally:
        _in_a_thread(pool.close_sync)


@pytest.fixture
def mongo_sync_pool(mongodb_uri: str) -> Iterator[type[MongoDBConnectionPool]]:
    """An open synchronous pool of this test alone on the session's server, closed afterwards."""
    from async_mongo_pool.sync_pool import MongoDBConnectionPool

    pool = MongoDBConnectionPool.named(f"test-{uuid4().hex}")
    pool.initialize(mongodb_uri)
    try:
        yield pool
    finally:
        pool.close()


async def _initialize(pool: type[AsyncMongoDBConnectionPool], uri: str) -> None:
    await pool.initialize(uri)


def _in_a_thread(work: Callable[[], object]) -> None:
    """Run `work` where no event loop runs, and where none is set that asyncio.run would unset."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # it is raised again below, in the thread that asked
            errors.append(error)

    thread = threading.Thread(target=run, name="async_mongo_pool.testing", daemon=True)
    thread.start()
    thread.join(_POOL_LIMIT)
    if thread.is_alive():
        raise TimeoutError(f"waited {_POOL_LIMIT:g} s in vain for the pool of the fixture")
    if errors:
        raise errors[0]


def _used_by(item: pytest.Item) -> Iterable[Any]:
    """The servers of the session that the test asked for, and those in its other fixtures."""
    asked = set(getattr(item, "fixturenames", ()))
    used = [server for name, server in item.config.stash[_SERVERS].items() if name in asked]
    return [*used, *getattr(item, "funcargs", {}).values()]


def _mongods(used: Iterable[Any]) -> list[Mongod]:
    from async_mongo_pool.testing.mongod import Mongod
    from async_mongo_pool.testing.replica_set import ReplicaSet

    found: dict[int, Mongod] = {}
    for candidate in used:
        members = candidate.members if isinstance(candidate, ReplicaSet) else [candidate]
        found |= {id(member): member for member in members if isinstance(member, Mongod)}
    return list(found.values())


def _keep_log(mongod: Mongod, directory: Path) -> str:
    from async_mongo_pool.testing.errors import ServerError

    try:
        return f"{mongod!r}: its log is in {mongod.copy_log(directory)}"
    except (ServerError, OSError) as error:
        return f"{mongod!r}: its log could not be kept: {error}"
