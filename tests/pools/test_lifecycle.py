"""The decisions of ``lifecycle``, without a server."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest
from pymongo.errors import ServerSelectionTimeoutError

from async_mongo_pool import PoolClosingError, PoolConfigurationConflict, PoolLoopError
from async_mongo_pool.asking import Request
from async_mongo_pool.lifecycle import Join, Lead, Lifecycle, Reuse

from .lifecycles import URI, claim, handle_for, lead, open_pool, request

pytestmark = pytest.mark.core


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
