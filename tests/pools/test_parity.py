"""The twins are written by hand: this holds their names, options, statistics and errors equal."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool

from .subjects import Subject

pytestmark = pytest.mark.core

TWINS: tuple[Any, Any] = (AsyncMongoDBConnectionPool, MongoDBConnectionPool)


def public_names(pool: Any) -> set[str]:
    return {name for name in dir(pool) if not name.startswith("_")}


def shape(function: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults; the types differ where the clients do."""
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


def test_the_same_names() -> None:
    assert public_names(TWINS[0]) == public_names(TWINS[1])


@pytest.mark.parametrize("name", sorted(public_names(AsyncMongoDBConnectionPool)))
def test_the_same_signature_and_a_docstring(name: str) -> None:
    asynchronous, synchronous = (getattr(pool, name) for pool in TWINS)
    assert shape(asynchronous) == shape(synchronous)
    assert inspect.getdoc(asynchronous)
    assert inspect.getdoc(synchronous)


def documented_errors(function: Any) -> set[str]:
    text = inspect.getdoc(function) or ""
    raises = text.partition("Raises:")[2]
    return {
        line.strip().partition(":")[0] for line in raises.splitlines() if line.startswith("    ") and ":" in line
    }


@pytest.mark.parametrize("name", ["initialize", "get_database", "scope", "get_client", "close", "close_all"])
def test_the_same_documented_errors(name: str) -> None:
    asynchronous, synchronous = (documented_errors(getattr(pool, name)) for pool in TWINS)
    # The twin has no event loop to be in the wrong one of.
    assert asynchronous - {"PoolLoopError"} == synchronous


async def test_the_same_statistics(mongodb_uri: str) -> None:
    shapes = []
    for backend in ("motor", "pymongo", "sync"):
        subject = Subject(backend)
        await subject.initialize(mongodb_uri)
        stats = await subject.stats()
        await subject.close()
        # Only Motor has workers in front of its connections.
        assert (stats.pop("executor") is not None) == (backend == "motor")
        shapes.append({key: type(value) for key, value in stats.items()})
    assert shapes[0] == shapes[1] == shapes[2]
