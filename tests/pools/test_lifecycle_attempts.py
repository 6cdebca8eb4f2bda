"""What callers share of an attempt, and what counts as the same request."""

from __future__ import annotations

import asyncio

import pytest
from pymongo.errors import NetworkTimeout, OperationFailure, ServerSelectionTimeoutError

from async_mongo_pool import PoolClosingError, PoolConfigurationError
from async_mongo_pool.asking import Asking, Request
from async_mongo_pool.config import resolve
from async_mongo_pool.lifecycle import Join, Lead, Lifecycle

from .lifecycles import DEADLINE, URI, claim, handle_for, lead, open_pool, request

pytestmark = pytest.mark.core


def test_a_request_shows_no_secret() -> None:
    asked = Request("mongodb://user:geheim@127.0.0.1/", None, None, {"password": "geheim"})
    assert "geheim" not in repr(asked)
    assert "geheim" not in str(asked)


def test_a_wrong_option_is_found_before_anything_is_claimed(lifecycle: Lifecycle) -> None:
    with pytest.raises(PoolConfigurationError):
        lifecycle.ask(request(maxPoolSizes=5))
    assert isinstance(claim(lifecycle, lifecycle.ask(request())), Lead)


def test_equal_settings_have_equal_keys() -> None:
    assert Asking(request(), "motor").key == ("motor", resolve(URI).key)


def test_more_patience_than_the_attempt_had_tries_again(lifecycle: Lifecycle) -> None:
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    waited_since = lifecycle.arrival()
    lifecycle.settle(step.attempt, ServerSelectionTimeoutError("nobody there"))
    with pytest.raises(ServerSelectionTimeoutError):
        claim(lifecycle, asking, waited_since, deadline=DEADLINE + 0.1)
    assert isinstance(claim(lifecycle, asking, waited_since, deadline=DEADLINE + 10), Lead)


def test_a_wrong_password_is_shared_whatever_the_patience(lifecycle: Lifecycle) -> None:
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    waited_since = lifecycle.arrival()
    lifecycle.settle(step.attempt, OperationFailure("Authentication failed.", 18))
    with pytest.raises(OperationFailure):
        claim(lifecycle, asking, waited_since, deadline=DEADLINE + 10)


def test_an_attempt_that_a_close_made_unwanted_fails_nobody_else(lifecycle: Lifecycle) -> None:
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    lifecycle.detach()
    since = lifecycle.arrival()
    lifecycle.settle(step.attempt, PoolClosingError.of("pool"))
    assert isinstance(claim(lifecycle, asking, since), Lead)


def test_a_scope_that_waited_through_a_close_does_not_enter(lifecycle: Lifecycle) -> None:
    ticket = lifecycle.enter_scope()
    lifecycle.detach()
    with pytest.raises(PoolClosingError):
        claim(lifecycle, lifecycle.ask(request()), ticket=ticket)


def test_a_scope_owns_what_it_opened_after_a_dead_loop(lifecycle: Lifecycle) -> None:
    loop = asyncio.new_event_loop()
    dead = open_pool(lifecycle, lifecycle.ask(request()), loop=loop)
    loop.close()
    ticket = lifecycle.enter_scope()
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking, ticket)
    assert step.dead == (dead,)
    fresh = handle_for(asking)
    assert lifecycle.publish(step.attempt, asking, fresh) is None
    lifecycle.settle(step.attempt)
    lifecycle.forget(dead)
    assert lifecycle.replacements == 0
    assert lifecycle.leave_scope(ticket) == [fresh]


def test_idle_means_nothing_open_opening_or_closing(lifecycle: Lifecycle) -> None:
    assert lifecycle.is_idle()
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    assert not lifecycle.is_idle()
    handle = handle_for(asking)
    lifecycle.publish(step.attempt, asking, handle)
    lifecycle.settle(step.attempt)
    lifecycle.detach()
    assert not lifecycle.is_idle()
    lifecycle.forget(handle)
    assert lifecycle.is_idle()


def test_requests_for_one_callable_are_equal(lifecycle: Lifecycle) -> None:
    def connection() -> str:
        return URI

    def other() -> str:
        return URI

    keys = [
        lifecycle.ask(Request(call, None, None, {"compressors": ["zlib"]})).key
        for call in (connection, connection, other)
    ]
    assert keys[0] == keys[1]
    assert hash(keys[0]) == hash(keys[1])
    assert keys[0] != keys[2]


class Peculiar(Exception):
    """Cannot be made from its arguments, as pydantic's ValidationError cannot."""

    def __new__(cls, *, code: int) -> Peculiar:
        return super().__new__(cls, f"code {code}")

    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")


def test_an_error_that_cannot_be_copied_is_shared_itself(lifecycle: Lifecycle) -> None:
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    waited_since = lifecycle.arrival()
    error = Peculiar(code=7)
    lifecycle.settle(step.attempt, error)
    assert step.attempt.done.done()
    with pytest.raises(Peculiar, match="code 7"):
        claim(lifecycle, asking, waited_since)


def test_whoever_only_joins_leaves_a_dead_client_to_the_leader(lifecycle: Lifecycle) -> None:
    handle = open_pool(lifecycle, lifecycle.ask(request()))
    replacing = lifecycle.ask(request(maxPoolSize=5))
    step = lead(lifecycle, replacing)
    handle.client._closed = True
    assert isinstance(claim(lifecycle, replacing), Join)
    assert lifecycle.handle() is handle
    assert lifecycle.closing == []
    lifecycle.settle(step.attempt)
    assert lead(lifecycle, replacing).dead == (handle,)
    assert lifecycle.closing == [handle]


def test_a_closed_client_is_dead_for_every_loop(lifecycle: Lifecycle) -> None:
    loop, here = asyncio.new_event_loop(), asyncio.new_event_loop()
    asking = lifecycle.ask(request())
    handle = open_pool(lifecycle, asking, loop=loop)
    handle.client._closed = True
    assert isinstance(claim(lifecycle, asking, here=here), Lead)
    loop.close()
    here.close()


def test_patience_counts_for_every_kind_of_timeout(lifecycle: Lifecycle) -> None:
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    waited_since = lifecycle.arrival()
    lifecycle.settle(step.attempt, NetworkTimeout("too slow"))
    assert isinstance(claim(lifecycle, asking, waited_since, deadline=DEADLINE + 10), Lead)


def test_bound_methods_of_one_object_are_one_callable(lifecycle: Lifecycle) -> None:
    class Vault:
        def uri(self) -> str:
            return URI

    vault = Vault()
    keys = [lifecycle.ask(Request(vault.uri, None, None, {})).key for _ in range(2)]
    assert keys[0] == keys[1]
    assert hash(keys[0]) == hash(keys[1])


def test_the_selection_timeout_bounds_a_callable_too(lifecycle: Lifecycle) -> None:
    options = {"server_selection_timeout_ms": 7000}
    assert lifecycle.ask(Request(lambda: URI, None, None, options)).seconds(None) == 7
    assert lifecycle.ask(Request(URI, None, None, options)).seconds(None) == 7
    assert lifecycle.ask(Request(lambda: URI, None, None, {})).seconds(None) == 5
