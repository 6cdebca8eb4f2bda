"""Forks: the child starts afresh, and the parent notices nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool.processes import copy_of

from .running import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from async_mongo_pool.testing import Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

BACKENDS = ("motor", "pymongo", "sync")
every_backend = pytest.mark.parametrize("backend", BACKENDS)

FRESH = {
    "client_before": None,
    "stats_before": {"status": "not_initialized"},
    "status": "connected",
    "replacements": 0,
    "is_inherited": False,
    "parents_connections_lost": 0,
    "inherited_touched": False,
}


def forked(situation: str, backend: str, server: Server) -> dict[str, Any]:
    """Run the situation; every child must have been a fresh pool, and a parent that went on unharmed."""
    outcome = run_script("forking", situation, backend, server.uri)
    children = {name: seen for name, seen in outcome.report.items() if name != "parent"}
    assert children
    for child in children.values():
        assert "failed" not in child, child["failed"]
        assert {name: child[name] for name in FRESH} == FRESH
        assert "not initialized" in child["repr_before"]
        assert child["own_connections"] >= 1
    parent: dict[str, Any] = outcome.report.get("parent", {})
    if parent:
        assert (parent["same_client"], parent["lost"], parent["status"]) == (True, 0, "connected")
    assert outcome.stderr == ""
    assert outcome.exit_code == 0
    return parent


@pytest.mark.core
@every_backend
@pytest.mark.parametrize("situation", ["before_use", "after_configure", "after_initialize", "after_use"])
def test_a_worker_forked(situation: str, backend: str, mongod: Server) -> None:
    forked(situation, backend, mongod)


@pytest.mark.core
@every_backend
def test_a_worker_that_outlives_the_parents_pool_keeps_none_of_its_connections(
    backend: str, mongod: Server
) -> None:
    forked("outliving_the_parents_pool", backend, mongod)


@pytest.mark.core
@every_backend
def test_a_worker_that_ends_like_any_process_is_silent(backend: str, mongod: Server) -> None:
    outcome = run_script("forking", "a_child_that_ends_by_itself", backend, mongod.uri)
    assert outcome.stderr == ""
    assert outcome.report["exit_code"] == 0
    assert outcome.report["parent"] == {"same_client": True, "lost": 0, "status": "connected"}


@every_backend
def test_a_worker_forked_by_a_worker(backend: str, mongod: Server) -> None:
    forked("a_child_of_a_child", backend, mongod)


@pytest.mark.core
@every_backend
def test_a_fork_inside_a_coroutine(backend: str, mongod: Server) -> None:
    forked("inside_a_coroutine", backend, mongod)


@pytest.mark.core
@every_backend
def test_a_fork_while_another_thread_is_connecting(backend: str, mongod: Server) -> None:
    forked("during_initialize", backend, mongod)


@pytest.mark.core
@every_backend
def test_a_fork_while_another_thread_holds_our_locks(backend: str, mongod: Server) -> None:
    forked("while_our_locks_are_held", backend, mongod)


@every_backend
def test_five_forks_under_load(backend: str, mongod: Server) -> None:
    parent = forked("under_load", backend, mongod)
    assert parent["errors"] == []


@every_backend
def test_a_fork_while_the_parent_closes(backend: str, mongod: Server) -> None:
    forked("during_close", backend, mongod)


@pytest.mark.core
def test_pools_that_are_made_during_a_look_spoil_none() -> None:
    class Changing(list[int]):
        looks = 0

        def __iter__(self) -> Iterator[int]:
            self.looks += 1
            if self.looks < 3:
                raise RuntimeError("Set changed size during iteration")
            return super().__iter__()

    assert copy_of(Changing([1, 2])) == [1, 2]
