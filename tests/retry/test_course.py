"""One call and its retries, on a fake clock: pauses, limits, reasons, notes, logs and counts."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections import Counter
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from async_mongo_pool.retry.course import Course
from async_mongo_pool.retry.decisions import Verdict, judge
from async_mongo_pool.retry.terms import Terms
from async_mongo_pool.retry_stats import REASONS

from .fakes import Bench, Failing, nothing

pytestmark = pytest.mark.core


def lost(times: int = 1) -> list[AutoReconnect]:
    return [AutoReconnect("mongodb://user:secret@host") for _ in range(times)]


def note(error: BaseException) -> str:
    (text,) = error.__notes__
    return text


def test_what_succeeds_is_called_once() -> None:
    bench, function = Bench(), Failing()
    assert bench.run(function, idempotent=True) == "done"
    assert function.calls == 1
    assert bench.clock.slept == []
    assert bench.state.stats().recovered == 0


def test_the_pauses_grow_and_are_counted() -> None:
    bench, function = Bench(), Failing(*lost(6))
    assert bench.run(function, idempotent=True, attempts=7) == "done"
    assert bench.clock.slept == [0.025, 0.05, 0.1, 0.2, 0.4, 0.5]
    stats = bench.state.stats()
    assert (stats.operations, stats.retries, stats.recovered) == (1, 6, 1)


def test_without_idempotent_nothing_is_tried_again() -> None:
    bench, function = Bench(), Failing(*lost())
    with pytest.raises(AutoReconnect) as raised:
        bench.run(function)
    assert function.calls == 1
    assert (
        note(raised.value) == "Bench.run gave up after 1 attempt(s) in 0.00 s: it was not said to be idempotent."
    )
    assert bench.state.stats().given_up["not_idempotent"] == 1


def test_the_attempts_are_used_up() -> None:
    bench, function = Bench(), Failing(*lost(9))
    with pytest.raises(AutoReconnect) as raised:
        bench.run(function, idempotent=True, attempts=3)
    assert function.calls == 3
    assert "3 attempt(s)" in note(raised.value)
    assert "AutoReconnect, AutoReconnect, and may have taken effect" in note(raised.value)
    assert bench.state.stats().given_up["attempts"] == 1


def test_a_pause_that_does_not_fit_into_the_deadline_is_not_begun() -> None:
    bench = Bench()
    function = Failing(*lost(99), clock=bench.clock, takes=0.3)
    began = bench.clock.now
    with pytest.raises(AutoReconnect):
        bench.run(function, idempotent=True, deadline=1, attempts=99)
    # Attempts end at 0.3, 0.625 and 0.975 s; a pause of 0.1 s would end after the deadline.
    assert function.calls == 3
    assert bench.clock.now - began == pytest.approx(0.975)
    assert bench.state.stats().given_up["deadline"] == 1


@given(st.floats(0.01, 20), st.floats(0, 0.5), st.floats(0, 1, exclude_max=True), st.integers(1, 50))
def test_no_pause_goes_beyond_the_deadline(deadline: float, takes: float, share: float, attempts: int) -> None:
    bench = Bench(lambda: share)
    function = Failing(*lost(60), clock=bench.clock, takes=takes)
    began = bench.clock.now
    with pytest.raises(AutoReconnect):
        bench.run(function, idempotent=True, deadline=deadline, attempts=attempts)
    assert bench.clock.now - began <= deadline + takes + 1e-6
    assert function.calls <= attempts
    assert function.calls == 1 + bench.state.stats().retries


@pytest.mark.parametrize("kind", [ExecutionTimeout, NetworkTimeout])
@pytest.mark.parametrize("idempotent", [True, False])
def test_a_timeout_at_the_end_of_the_deadline_is_the_deadline(kind: type[PyMongoError], idempotent: bool) -> None:
    error = kind("slow")
    bench = Bench()
    # The driver takes the round trip off what it grants the server.
    function = Failing(error, clock=bench.clock, takes=0.98)
    with pytest.raises(kind) as raised:
        bench.run(function, idempotent=idempotent, deadline=1)
    assert "the deadline leaves no time" in note(raised.value)
    assert bench.state.stats().given_up["deadline"] == 1


def test_the_callers_own_time_limit_is_passed_on_as_it_is() -> None:
    bench = Bench()
    function = Failing(ExecutionTimeout("maxTimeMS", 50, {}), clock=bench.clock, takes=0.1)
    with pytest.raises(ExecutionTimeout) as raised:
        bench.run(function, idempotent=True, deadline=10)
    assert function.calls == 1
    assert not hasattr(raised.value, "__notes__")


def test_operations_earn_retries_for_everybody() -> None:
    bench = Bench()
    for _ in range(100):
        bench.run(Failing())
    assert bench.state.stats().budget == pytest.approx(30)


def test_a_storm_stays_within_the_budget() -> None:
    bench = Bench()
    calls = 0
    for _ in range(100):
        function = Failing(*lost(9))
        with pytest.raises(AutoReconnect):
            bench.run(function, idempotent=True)
        calls += function.calls
    stats = bench.state.stats()
    passed = sum(bench.clock.slept)
    assert calls == 100 + stats.retries <= 100 + 10 + 20 + passed
    assert stats.given_up["budget"] > 60
    assert sum(stats.given_up.values()) == 100


def test_a_duplicate_key_after_a_retry_tells_of_the_attempt_before() -> None:
    bench, function = Bench(), Failing(*lost(), DuplicateKeyError("duplicate", 11000, {}))
    with pytest.raises(DuplicateKeyError) as raised:
        bench.run(function, idempotent=True)
    assert "AutoReconnect, and may have taken effect" in note(raised.value)
    assert bench.state.stats().given_up["permanent"] == 1
    assert bench.asked == [True]


@pytest.mark.parametrize(
    "error", [DuplicateKeyError("duplicate"), WaitQueueTimeoutError("full"), ValueError("own")], ids=repr
)
def test_an_error_that_does_not_pass_is_nobodys_business(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench, function = Bench(), Failing(error)
    with pytest.raises(type(error)) as raised:
        bench.run(function, idempotent=True)
    assert raised.value is error
    assert not hasattr(error, "__notes__")
    assert bench.asked == [False]
    assert caplog.records == []
    assert set(bench.state.stats().given_up.values()) == {0}


def test_an_error_of_the_functions_own_is_no_deadline_whatever_it_has() -> None:
    bench = Bench()
    error = subprocess.TimeoutExpired("ls", 0.99)
    with pytest.raises(subprocess.TimeoutExpired):
        bench.run(Failing(error, clock=bench.clock, takes=0.99), idempotent=True, deadline=1)
    assert bench.asked == [False]
    assert set(bench.state.stats().given_up.values()) == {0}


def test_a_retry_that_is_cancelled_in_its_pause_is_none() -> None:
    bench = Bench()

    def cancelled(seconds: float) -> None:
        raise KeyboardInterrupt

    bench.clock.sleep = cancelled  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        bench.run(Failing(*lost()), idempotent=True)
    assert bench.state.stats().retries == 0


def test_a_transaction_after_a_retry_tells_of_the_attempt_before() -> None:
    (first,), (second,) = lost(), lost()
    second._add_error_label("TransientTransactionError")
    bench, function = Bench(), Failing(first, second)
    with pytest.raises(AutoReconnect) as raised:
        bench.run(function, idempotent=True)
    assert function.calls == 2
    assert "AutoReconnect, and may have taken effect" in note(raised.value)
    assert bench.asked == [True]
    assert bench.state.stats().given_up["permanent"] == 1


def test_an_error_that_many_share_has_one_note() -> None:
    (error,) = lost()
    bench = Bench()
    for _ in range(3):
        with pytest.raises(AutoReconnect):
            bench.run(Failing(error))
    assert len(error.__notes__) == 1


def test_a_transaction_gets_its_error_at_once_and_silently(caplog: pytest.LogCaptureFixture) -> None:
    (error,) = lost()
    error._add_error_label("TransientTransactionError")
    bench, function = Bench(), Failing(error)
    with pytest.raises(AutoReconnect):
        bench.run(function, idempotent=True)
    assert function.calls == 1
    assert not hasattr(error, "__notes__")
    assert caplog.records == []


def test_an_overloaded_server_gets_no_retry_of_ours() -> None:
    error = OperationFailure("no", 462, {"errorLabels": ["SystemOverloadedError", "RetryableError"]})
    bench, function = Bench(), Failing(error)
    with pytest.raises(OperationFailure) as raised:
        bench.run(function, idempotent=True)
    assert function.calls == 1
    assert "further attempts are left to the driver" in note(raised.value)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()], ids=repr)
def test_a_cancellation_passes_at_once(error: BaseException) -> None:
    bench, function = Bench(), Failing(error)
    with pytest.raises(type(error)):
        bench.run(function, idempotent=True)
    assert function.calls == 1
    assert not hasattr(error, "__notes__")


def test_tenacitys_own_word_for_again_goes_past_nothing() -> None:
    bench, function = Bench(), Failing(*[tenacity.TryAgain() for _ in range(9)])
    with pytest.raises(tenacity.TryAgain):
        bench.run(function)
    assert function.calls == 1


def test_a_pool_that_was_closed_meanwhile_ends_with_the_error_of_the_driver() -> None:
    bench = Bench()
    course = Course("Bench", bench.state, Terms(idempotent=True), nothing)
    function = Failing(*lost(9))

    def attempt() -> Any:
        if (failed := course.pool_is_closed()) is not None:
            raise failed
        with course.attempt():
            return function()

    with pytest.raises(AutoReconnect) as raised:
        tenacity.Retrying(sleep=bench.clock.sleep, **course.controls())(attempt)
    assert course.gave_up(raised.value)
    assert function.calls == 1
    assert "the pool was closed" in note(raised.value)


def test_retries_are_logged_quietly_and_giving_up_is_a_warning_without_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(lambda: 0.4)
    with caplog.at_level(logging.DEBUG, "async_mongo_pool"), pytest.raises(AutoReconnect):
        bench.run(Failing(*lost(9)), idempotent=True, attempts=2)
    retried, gave_up = caplog.records
    assert retried.levelname == "DEBUG"
    assert retried.getMessage() == "Bench.run: attempt 1 of 2 failed (AutoReconnect), the next one in 0.020 s"
    assert gave_up.levelname == "WARNING"
    assert gave_up.getMessage() == (
        "Bench.run gave up after 2 attempt(s) in 0.02 s (AutoReconnect): the attempts are used up; "
        "0 more since the last such line"
    )


def test_a_storm_is_one_warning_a_second(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    def give_up() -> None:
        with pytest.raises(AutoReconnect):
            bench.run(Failing(*lost()))

    for _ in range(50):
        give_up()
    bench.clock.now += 1
    give_up()
    first, second = (record.getMessage() for record in caplog.records)
    assert first.endswith("0 more since the last such line")
    assert second.endswith("49 more since the last such line")


errors = st.sampled_from(
    [
        lambda: AutoReconnect("lost"),
        lambda: NetworkTimeout("late"),
        lambda: OperationFailure("stepped down", 189, {}),
        lambda: OperationFailure("unauthorized", 13, {}),
        lambda: WaitQueueTimeoutError("full"),
        lambda: OperationFailure("busy", 462, {"errorLabels": ["SystemOverloadedError"]}),
        lambda: ValueError("own"),
    ]
)


@given(
    st.lists(st.lists(errors, max_size=6), min_size=1, max_size=40),
    st.booleans(),
    st.integers(1, 6),
    st.one_of(st.none(), st.floats(0.01, 5)),
)
def test_every_call_is_accounted_for(
    storms: list[list[Any]], idempotent: bool, attempts: int, deadline: float | None
) -> None:
    bench = Bench()
    ends: Counter[str] = Counter()
    calls = silent_retries = 0
    for made in storms:
        raised = [make() for make in made]
        function = Failing(*raised, clock=bench.clock, takes=0.2)
        try:
            bench.run(function, idempotent=idempotent, attempts=attempts, deadline=deadline)
            ends["recovered" if function.calls > 1 else "done"] += 1
        except Exception as error:
            noted = hasattr(error, "__notes__")
            ends["noted" if noted else "silent"] += 1
            # Nothing is silent after a retry.
            silent_retries += not noted and function.calls > 1
        calls += function.calls
        assert 1 <= function.calls <= (attempts if idempotent else 1)
        # Everything before the last one was worth a retry.
        assert all(judge(error) is Verdict.TRANSIENT for error in raised[: function.calls - 1])
    assert silent_retries == 0
    stats = bench.state.stats()
    assert set(stats.given_up) == set(REASONS)
    assert stats.operations == len(storms) == sum(ends.values())
    assert stats.retries == calls - len(storms)
    assert stats.recovered == ends["recovered"]
    assert sum(stats.given_up.values()) == ends["noted"] == bench.asked.count(True)
    assert 0 <= stats.budget <= 100
