"""The decisions of ``lifecycle``, without a server."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.errors import NetworkTimeout, OperationFailure, ServerSelectionTimeoutError

from async_mongo_pool import PoolClosingError, PoolConfigurationConflict, PoolConfigurationError, PoolLoopError
from async_mongo_pool.asking import Asking, Request
from async_mongo_pool.backends.handle import ClientHandle
from async_mongo_pool.config import resolve
from async_mongo_pool.lifecycle import Join, Lead, Lifecycle, Reuse

pytestmark = pytest.mark.core

URI = "mongodb://127.0.0.1/"


def request(uri: str | None = URI, **options: Any) -> Request:
    return Request(uri, None, None, options)


def handle_for(asking: Asking, loop: asyncio.AbstractEventLoop | None = None) -> ClientHandle:
    """A handle that no driver stands behind: the lifecycle only carries it."""
    assert asking.settings is not None
    handle = ClientHandle("pool", asking.settings)
    handle.backend = asking.backend
    handle.client = SimpleNamespace(_closed=False)
    handle.loop = loop
    return handle


DEADLINE = 1000.0


def claim(
    lifecycle: Lifecycle,
    asking: Asking,
    arrival: int | None = None,
    *,
    deadline: float = DEADLINE,
    here: asyncio.AbstractEventLoop | None = None,
    ticket: object | None = None,
) -> Reuse | Join | Lead:
    since = lifecycle.arrival() if arrival is None else arrival
    with lifecycle.calling(here, ticket) as call:
        return lifecycle.claim(asking, since, deadline, call)


def lead(lifecycle: Lifecycle, asking: Asking, ticket: object | None = None) -> Lead:
    step = claim(lifecycle, asking, ticket=ticket)
    assert isinstance(step, Lead)
    return step


def open_pool(
    lifecycle: Lifecycle, asking: Asking, ticket: object | None = None, loop: Any = None
) -> ClientHandle:
    step = lead(lifecycle, asking, ticket)
    handle = handle_for(asking, loop)
    lifecycle.publish(step.attempt, asking, handle)
    lifecycle.settle(step.attempt)
    return handle


@pytest.fixture
def lifecycle() -> Lifecycle:
    return Lifecycle("pool", "motor", ("motor", "pymongo"))


def test_the_first_leads_and_the_next_joins(lifecycle: Lifecycle) -> None:
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    other = claim(lifecycle, asking)
    assert isinstance(other, Join)
    assert other.attempt is step.attempt
    assert not step.attempt.done.done()
    lifecycle.settle(step.attempt)
    assert step.attempt.done.done()


def test_an_equal_request_reuses(lifecycle: Lifecycle) -> None:
    handle = open_pool(lifecycle, lifecycle.ask(request(maxPoolSize=5)))
    step = claim(lifecycle, lifecycle.ask(request(max_pool_size="5")))
    assert step == Reuse(handle)


def test_spellings_are_recognised_without_resolving(lifecycle: Lifecycle) -> None:
    handle = open_pool(lifecycle, lifecycle.ask(request(maxPoolSize=5)))
    assert lifecycle.reuse(Request(URI, None, None, {"maxPoolSize": 5}), None) is handle.client
    assert lifecycle.reuse(Request(None, None, None, {}), None) is handle.client
    assert lifecycle.reuse(Request(URI, None, None, {"max_pool_size": 5}), None) is None
    claim(lifecycle, lifecycle.ask(request(max_pool_size=5)))
    assert lifecycle.reuse(Request(URI, None, None, {"max_pool_size": 5}), None) is handle.client


def test_many_spellings_do_not_pile_up(lifecycle: Lifecycle) -> None:
    open_pool(lifecycle, lifecycle.ask(request(maxPoolSize=5)))
    for zeros in range(20):
        claim(lifecycle, lifecycle.ask(request(maxPoolSize="0" * zeros + "5")))
    assert lifecycle.opened is not None
    assert len(lifecycle.opened.spellings) == 8


def test_a_failure_is_shared_with_those_who_waited_and_no_others(lifecycle: Lifecycle) -> None:
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    waited_since = lifecycle.arrival()
    error = ServerSelectionTimeoutError("nobody there")
    lifecycle.settle(step.attempt, error)
    with pytest.raises(ServerSelectionTimeoutError, match="nobody there") as raised:
        claim(lifecycle, asking, waited_since)
    assert raised.value is not error
    assert isinstance(claim(lifecycle, asking), Lead)


def test_a_failure_is_not_shared_with_another_configuration(lifecycle: Lifecycle) -> None:
    step = lead(lifecycle, lifecycle.ask(request()))
    waited_since = lifecycle.arrival()
    lifecycle.settle(step.attempt, ServerSelectionTimeoutError("nobody there"))
    assert isinstance(claim(lifecycle, lifecycle.ask(request(maxPoolSize=5)), waited_since), Lead)


def test_a_cancelled_attempt_makes_the_next_one_lead(lifecycle: Lifecycle) -> None:
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    waited_since = lifecycle.arrival()
    lifecycle.settle(step.attempt)
    assert isinstance(claim(lifecycle, asking, waited_since), Lead)


def test_a_replacement_is_counted_and_retired(lifecycle: Lifecycle) -> None:
    old = open_pool(lifecycle, lifecycle.ask(request()))
    new = open_pool(lifecycle, lifecycle.ask(request(maxPoolSize=5)))
    assert lifecycle.handle() is new
    assert lifecycle.retired == [old]
    assert lifecycle.replacements == 1
    assert not lifecycle.forget(old)
    assert lifecycle.retired == []


def test_close_takes_everything_and_forgets_once_done(lifecycle: Lifecycle) -> None:
    old = open_pool(lifecycle, lifecycle.ask(request()))
    new = open_pool(lifecycle, lifecycle.ask(request(maxPoolSize=5)))
    assert lifecycle.detach() == [new, old]
    # A second closer joins the closings that are under way.
    assert lifecycle.detach() == [new, old]
    assert not lifecycle.forget(new)
    assert lifecycle.forget(old)


def test_what_is_connecting_at_a_close_is_not_wanted(lifecycle: Lifecycle) -> None:
    asking = lifecycle.ask(request())
    step = lead(lifecycle, asking)
    lifecycle.detach()
    with pytest.raises(PoolClosingError):
        lifecycle.publish(step.attempt, asking, handle_for(asking))
    assert lifecycle.handle() is None


def test_a_scope_never_replaces(lifecycle: Lifecycle) -> None:
    open_pool(lifecycle, lifecycle.ask(request()))
    with pytest.raises(PoolConfigurationConflict, match="maxPoolSize"):
        claim(lifecycle, lifecycle.ask(request(maxPoolSize=5)), ticket=lifecycle.enter_scope())


def test_the_last_scope_out_closes_what_a_scope_opened(lifecycle: Lifecycle) -> None:
    first, second = lifecycle.enter_scope(), lifecycle.enter_scope()
    handle = open_pool(lifecycle, lifecycle.ask(request()), first)
    assert lifecycle.leave_scope(first) == []
    assert lifecycle.leave_scope(second) == [handle]
    # Nobody can enter a pool that is about to close: it is off the lifecycle already.
    assert lifecycle.handle() is None


def test_the_last_scope_out_leaves_open_what_others_opened(lifecycle: Lifecycle) -> None:
    open_pool(lifecycle, lifecycle.ask(request()))
    assert not lifecycle.leave_scope(lifecycle.enter_scope())


def test_a_scope_of_before_a_close_closes_nothing_after_it(lifecycle: Lifecycle) -> None:
    before = lifecycle.enter_scope()
    open_pool(lifecycle, lifecycle.ask(request()), before)
    for handle in lifecycle.detach():
        lifecycle.forget(handle)
    after = lifecycle.enter_scope()
    handle = open_pool(lifecycle, lifecycle.ask(request()), after)
    assert lifecycle.leave_scope(before) == []
    assert lifecycle.leave_scope(after) == [handle]


def test_nothing_given_means_what_is_remembered(lifecycle: Lifecycle) -> None:
    lifecycle.configure(request(maxPoolSize=7))
    assert lifecycle.ask(request(None)).request == request(maxPoolSize=7)
    open_pool(lifecycle, lifecycle.ask(request(maxPoolSize=8)))
    assert lifecycle.ask(request(None)).request == request(maxPoolSize=8)
    # Other options, no connection: the address stays.
    assert lifecycle.ask(request(None, max_pool_size=9)).request == request(max_pool_size=9)
    assert lifecycle.ask(request(None, appName="a")).request == request(maxPoolSize=8, appName="a")
    lifecycle.detach()
    assert lifecycle.ask(request(None)).request == request(maxPoolSize=7)


def test_a_child_process_starts_afresh_and_remembers(lifecycle: Lifecycle) -> None:
    handle = open_pool(lifecycle, lifecycle.ask(request(maxPoolSize=8)))
    lifecycle.enter_scope()
    # As if another thread of the parent held it at the fork.
    lifecycle.mutex.acquire()
    assert lifecycle.after_fork_in_child() == [handle]
    assert lifecycle.handle() is None
    assert lifecycle.replacements == 0
    assert lifecycle.ask(request(None)).request == request(maxPoolSize=8)
    assert isinstance(claim(lifecycle, lifecycle.ask(request(None))), Lead)


def test_a_loop_that_is_gone_counts_as_not_open(lifecycle: Lifecycle) -> None:
    loop = asyncio.new_event_loop()
    asking = lifecycle.ask(request())
    open_pool(lifecycle, asking, loop=loop)
    here = asyncio.new_event_loop()
    # Neither running nor closed.
    assert lifecycle.client_for(here) is None
    assert isinstance(claim(lifecycle, asking, here=here), Lead)
    loop.close()
    assert lifecycle.client_for(None) is None
    here.close()


@pytest.mark.parametrize("between", ["nothing", "close"])
def test_an_attempt_whose_loop_is_gone_is_given_up(lifecycle: Lifecycle, between: str) -> None:
    loop = asyncio.new_event_loop()
    asking = lifecycle.ask(request())
    step = claim(lifecycle, asking, here=loop)
    assert isinstance(step, Lead)
    left = step.attempt.handle = handle_for(asking)
    loop.close()
    assert lifecycle.is_idle()
    if between == "close":
        assert lifecycle.detach() == [left]
    following = lead(lifecycle, asking)
    assert following.dead == (() if between == "close" else (left,))
    # Whatever becomes of the one that was given up, it is not published and ends nothing.
    with pytest.raises(PoolClosingError):
        lifecycle.publish(step.attempt, asking, left)
    lifecycle.settle(step.attempt)
    assert not following.attempt.done.done()


def test_a_loop_alive_elsewhere_is_an_error_that_names_both(lifecycle: Lifecycle) -> None:
    loop, here = asyncio.new_event_loop(), asyncio.new_event_loop()
    stop: Future[None] = Future()
    thread = threading.Thread(target=loop.run_until_complete, args=(asyncio.wrap_future(stop, loop=loop),))
    asking = lifecycle.ask(request())
    open_pool(lifecycle, asking, loop=loop)
    thread.start()
    try:
        while not loop.is_running():
            thread.join(0.01)
        with pytest.raises(PoolLoopError, match=f"{id(loop):#x}.*{id(here):#x}"):
            claim(lifecycle, asking, here=here)
    finally:
        stop.set_result(None)
        thread.join(5)
        loop.close()
        here.close()


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
