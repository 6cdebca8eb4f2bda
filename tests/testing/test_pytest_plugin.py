"""The plugin as its users meet it: in a pytest of their own, a process of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = any(entry.name == "async_mongo_pool" for entry in entry_points(group="pytest11"))
PLUGIN = [] if INSTALLED else ["-p", "async_mongo_pool.testing.plugin"]
LOOP_SCOPES = pytest.mark.parametrize("loop_scope", ["function", "session"])


@pytest.fixture
def users(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("MONGODB_URI", raising=False)
    return pytester


def run(users: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return users.runpytest_subprocess(*PLUGIN, "-p", "no:randomly", *arguments, timeout=90)


def test_loading_it_costs_next_to_nothing() -> None:
    heavy = "{'motor', 'psutil', 'pymongo', 'trustme'}"
    code = f"import sys, async_mongo_pool.testing.plugin; print(sorted({heavy} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert outcome.stdout == "[]\n"


def test_fixtures_that_are_not_used_start_nothing(users: pytest.Pytester) -> None:
    users.makepyfile(
        """
        import psutil, sys

        def test_nothing_runs():
            assert psutil.Process().children() == []
            assert "async_mongo_pool.testing.mongod" not in sys.modules
        """
    )
    run(users).assert_outcomes(passed=1)


def test_the_servers_are_the_sessions_and_go_with_it(users: pytest.Pytester) -> None:
    users.makepyfile(
        """
        from pathlib import Path
        from pymongo import MongoClient

        seen = set()

        def test_server(mongod, mongodb_uri):
            seen.add(mongod.pid)
            assert mongod.uri == mongodb_uri
            Path("directory").write_text(str(mongod.directory))

        def test_same_server(mongod):
            seen.add(mongod.pid)
            assert len(seen) == 1

        def test_replica_set(mongodb_replica_set):
            assert len(mongodb_replica_set.members) == 3
            with MongoClient(mongodb_replica_set.uri, w=3, wTimeoutMS=10_000) as client:
                client.shop.orders.insert_one({})
        """
    )
    run(users).assert_outcomes(passed=3)
    assert not Path((users.path / "directory").read_text()).exists()


def test_a_database_is_one_tests_and_dropped_after_it(users: pytest.Pytester) -> None:
    users.makepyfile(
        """
        names = []

        def test_first(mongod, mongodb_database):
            names.append(mongodb_database)
            with mongod.client() as client:
                client[mongodb_database].orders.insert_one({})
                assert mongodb_database in client.list_database_names()

        def test_second(mongod, mongodb_database):
            assert mongodb_database not in names
            with mongod.client() as client:
                assert names[0] not in client.list_database_names()
        """
    )
    run(users).assert_outcomes(passed=2)


def test_an_existing_server_is_used(users: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://db.example:27018/")
    users.makepyfile(
        """
        import psutil

        def test_uri(mongodb_uri):
            assert mongodb_uri == "mongodb://db.example:27018/"
            assert psutil.Process().children() == []
        """
    )
    run(users).assert_outcomes(passed=1)


def test_the_log_of_a_failed_tests_server_is_kept_and_named(users: pytest.Pytester) -> None:
    users.makepyfile(
        """
        def test_fails(mongodb_uri):
            assert not mongodb_uri

        def test_uses_none():
            raise AssertionError
        """
    )
    result = run(users, "--mongod-logs=kept")
    result.assert_outcomes(failed=2)
    (log,) = (users.path / "kept").iterdir()
    assert "Waiting for connections" in log.read_text()
    assert result.stdout.str().count(f"its log is in {log}") == 1


def test_the_log_is_not_kept_when_all_is_well(users: pytest.Pytester) -> None:
    users.makepyfile("def test_passes(mongodb_uri): pass")
    run(users).assert_outcomes(passed=1)
    assert not (users.path / "test-logs").exists()


POOLS_EXIST = find_spec("async_mongo_pool.async_pool") and find_spec("async_mongo_pool.sync_pool")
needs_pools = pytest.mark.skipif(not POOLS_EXIST, reason="the pools are not written yet")


@needs_pools
@LOOP_SCOPES
def test_the_pool_works_in_loops_of_every_scope(users: pytest.Pytester, loop_scope: str) -> None:
    users.makeini(
        f"""
        [pytest]
        asyncio_mode = auto
        asyncio_default_fixture_loop_scope = {loop_scope}
        asyncio_default_test_loop_scope = {loop_scope}
        """
    )
    users.makepyfile(
        """
        pools = []

        async def test_first(mongo_pool, mongodb_database):
            pools.append(mongo_pool)
            assert await mongo_pool.get_client()[mongodb_database].orders.count_documents({}) == 0

        async def test_second(mongo_pool):
            assert mongo_pool is not pools[0]
            assert pools[0].get_client() is None
            assert (await mongo_pool.get_client().admin.command("ping"))["ok"] == 1
        """
    )
    run(users).assert_outcomes(passed=2)


@needs_pools
def test_the_pools_work_without_pytest_asyncio(users: pytest.Pytester) -> None:
    users.makepyfile(
        """
        import asyncio

        def test_synchronous(mongo_sync_pool):
            assert mongo_sync_pool.get_client().admin.command("ping")["ok"] == 1

        def test_asynchronous(mongo_pool):
            async def ping():
                return await mongo_pool.get_client().admin.command("ping")

            assert asyncio.run(ping())["ok"] == 1
        """
    )
    run(users, "-p", "no:asyncio").assert_outcomes(passed=2)
