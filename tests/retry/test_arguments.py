"""What is refused before anything is called, and that the twins agree."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool import AsyncMongoDBConnectionPool, MongoDBConnectionPool
from async_mongo_pool.errors import PoolConfigurationError, PoolNotInitializedError

from .fakes import Failing

if TYPE_CHECKING:
    from .subjects import Subject

pytestmark = pytest.mark.core

NAMES = ("run", "retrying", "operation", "retry_stats")


@pytest.mark.parametrize("name", NAMES)
def test_the_twins_have_the_same_signatures_and_errors(name: str) -> None:
    asynchronous, synchronous = (
        getattr(pool, name) for pool in (AsyncMongoDBConnectionPool, MongoDBConnectionPool)
    )
    shapes = [
        [(each.name, each.kind, each.default) for each in inspect.signature(call).parameters.values()]
        for call in (asynchronous, synchronous)
    ]
    assert shapes[0] == shapes[1]
    errors = [documented_errors(call) for call in (asynchronous, synchronous)]
    assert errors[0] - {"PoolLoopError"} == errors[1]


def documented_errors(call: Any) -> set[str]:
    raises = (inspect.getdoc(call) or "").partition("Raises:")[2]
    return {line.strip().partition(":")[0] for line in raises.splitlines() if ":" in line}


@pytest.mark.parametrize(
    "terms",
    [
        {"deadline": 0},
        {"deadline": -1},
        {"deadline": True},
        {"deadline": "1"},
        {"deadline": float("nan")},
        {"deadline": float("inf")},
        {"attempts": 0},
        {"attempts": True},
        {"attempts": 2.0},
        {"attempts": None},
        {"idempotent": 1},
        {"idempotent": None},
        {"on_give_up": "log"},
    ],
    ids=repr,
)
async def test_terms_that_cannot_be_meant_are_refused(subject: Subject, terms: dict[str, Any]) -> None:
    function = Failing()
    with pytest.raises(PoolConfigurationError, match=next(iter(terms))):
        await subject.run(function, **terms)
    with pytest.raises(PoolConfigurationError, match=next(iter(terms))):
        subject.pool.retrying(**terms)
    assert function.calls == 0


def test_a_refusal_shows_no_content() -> None:
    with pytest.raises(PoolConfigurationError) as raised:
        MongoDBConnectionPool.retrying(deadline="secret")  # type: ignore[arg-type]
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("seconds", [0, -1, None, True, "1", float("nan"), float("inf")], ids=repr)
@pytest.mark.parametrize("pool", [AsyncMongoDBConnectionPool, MongoDBConnectionPool])
def test_a_time_limit_is_a_number_of_seconds(pool: Any, seconds: Any) -> None:
    with pytest.raises(PoolConfigurationError, match="timeout"):
        pool.operation(timeout=seconds)


async def test_a_pool_that_is_not_open_says_so(subject: Subject) -> None:
    function = Failing()
    with pytest.raises(PoolNotInitializedError, match=subject.name):
        await subject.run(function, idempotent=True)
    assert function.calls == 0
    assert set(subject.stats().given_up.values()) == {0}


async def test_what_was_called_already_is_no_function(subject: Subject) -> None:
    async def function(client: Any) -> None: ...

    with pytest.raises(TypeError, match="without calling it"):
        await subject.run(function(None))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not str"):
        subject.pool.retrying()("text")


def test_the_twin_has_nobody_to_await_on_give_up() -> None:
    async def on_give_up(error: Exception, attempts: int, seconds: float) -> None: ...

    with pytest.raises(PoolConfigurationError, match="on_give_up"):
        MongoDBConnectionPool.run(Failing(), on_give_up=on_give_up)
    with pytest.raises(PoolConfigurationError, match="on_give_up"):
        MongoDBConnectionPool.retrying(on_give_up=on_give_up)


@pytest.mark.parametrize("pool", [AsyncMongoDBConnectionPool, MongoDBConnectionPool])
def test_a_decorated_function_shows_what_its_callers_pass(pool: Any) -> None:
    async def find_order(client: Any, number: int, *, full: bool = False) -> int:
        """Find an order."""
        return number

    decorated = pool.retrying(idempotent=True)(find_order)
    assert str(inspect.signature(decorated)) == "(number: 'int', *, full: 'bool' = False) -> 'int'"
    assert (decorated.__name__, decorated.__doc__) == ("find_order", "Find an order.")
    assert inspect.iscoroutinefunction(decorated) == (pool is AsyncMongoDBConnectionPool)
