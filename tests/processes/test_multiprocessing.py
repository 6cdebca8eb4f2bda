"""``multiprocessing``: a PoolConfig travels without its secrets, and every worker opens a pool of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from async_mongo_pool.testing import Mongod

from .running import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def guarded_server() -> Iterator[Mongod]:
    """A server that wants a password."""
    with Mongod(auth=True) as server:
        yield server


@pytest.mark.parametrize("backend", ["motor", "pymongo", "sync"])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_get_a_configuration_and_find_the_password_in_their_environment(
    method: str, backend: str, guarded_server: Mongod
) -> None:
    assert guarded_server.root is not None
    password = guarded_server.root.password or ""
    outcome = run_script("workers", method, backend, guarded_server.uri, MONGO_PASSWORD=password)
    report = outcome.report
    for worker in report["workers"]:
        assert "failed" not in worker, worker["failed"]
        assert (worker["before"], worker["status"], worker["replacements"]) == (None, "connected", 0)
    pids = {worker["pid"] for worker in report["workers"]} | {report["pid"]}
    assert len(pids) == len(report["workers"]) + 1
    assert report["exit_codes"] == [0, 0]
    assert report["parents_client_is_the_same"]
    assert password not in report["pickled"]
    assert outcome.stderr == ""
    assert outcome.exit_code == 0


def test_a_worker_without_the_password_says_what_is_missing(guarded_server: Mongod) -> None:
    assert guarded_server.root is not None
    outcome = run_script("workers", "spawn", "sync", guarded_server.uri)
    for worker in outcome.report["workers"]:
        assert "MONGO_PASSWORD" in worker["failed"]
        assert guarded_server.root.password not in worker["failed"]
