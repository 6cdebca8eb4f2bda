"""One ping for everybody, cached answers and bounds: on a clock of our own, without a server."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect, WaitQueueTimeoutError

from async_mongo_pool.health.examiner import Examiner
from async_mongo_pool.health.judge import Terms
from async_mongo_pool.health.results import Readiness, ServerHealth
from async_mongo_pool.health.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.core

WELL = Sight({"a:1": ServerHealth(kind="RSPrimary")}, primary=True, readable=True, heard_at=1.0)
NO_PRIMARY = replace(WELL, primary=False)
GONE = Sight({"a:1": ServerHealth(kind="Unknown", error="refused")})
FULL = replace(WELL, saturated=True, full=True)
HANDLE: Any = SimpleNamespace(
    pool="Pool",
    settings=SimpleNamespace(redactor=SimpleNamespace(scrub=lambda text: text.replace("geheim", "***"))),
)


class Desk:
    """An examiner whose clock, heartbeats and pings the test decides about."""

    def __init__(self, sight: Sight = WELL, terms: Terms | None = None) -> None:
        self.now = 100.0
        self.sight = sight
        self.pings: list[Future[float]] = []
        self.refusal: Exception | None = None
        self.pinging = False
        self.examiner = Examiner(
            HANDLE, terms or Terms(), ping=self._ping, look=self._look, clock=lambda: self.now
        )

    def _look(self, handle: Any, require: str, pinging: bool) -> Sight:
        del handle, require
        self.pinging = pinging
        return self.sight

    def _ping(self, handle: Any, require: str, timeout: float) -> Future[float]:
        del handle, require, timeout
        if self.refusal is not None:
            raise self.refusal
        self.pings.append(Future())
        return self.pings[-1]

    def probe(
        self, outcome: float | Exception | None = 0.01, *, timeout: float = 1.0, max_age: float = 0.0
    ) -> Readiness:
        """One prober, whose ping ends as told; None: not before the prober gives up."""
        steps = self.examiner.inquire(timeout, max_age)
        while True:
            try:
                _, seconds = next(steps)
            except StopIteration as end:
                answer: Readiness = end.value
                return answer
            if outcome is None:
                self.now += seconds
            elif not self.pings[-1].done():
                self.end(outcome)

    def end(self, outcome: float | Exception) -> None:
        if isinstance(outcome, Exception):
            self.pings[-1].set_exception(outcome)
        else:
            self.pings[-1].set_result(outcome)


def test_a_server_that_answers_is_ready() -> None:
    answer = Desk().probe(0.012)
    assert (answer.state, answer.ready, answer.live) == ("ready", True, True)
    assert answer.response_seconds == 0.012
    assert "0.012 s" in answer.reason
    assert answer.servers == WELL.servers
    assert answer.primary
    assert not answer.saturated


def test_one_failing_ping_stays_ready_and_a_second_in_a_row_does_not() -> None:
    desk = Desk()
    first = desk.probe(AutoReconnect("broken"))
    assert (first.state, first.ready) == ("ready", True)
    assert "broken" in first.reason
    second = desk.probe(AutoReconnect("broken again"))
    assert (second.state, second.ready) == ("down", False)
    assert desk.probe().ready


def test_a_good_ping_between_two_failures_begins_anew() -> None:
    desk = Desk()
    for _ in range(5):
        assert desk.probe(AutoReconnect("broken")).ready
        assert desk.probe().ready


def test_a_failed_ping_and_heartbeats_that_know_no_server_are_down_at_once() -> None:
    desk = Desk()
    desk.sight = GONE
    answer = desk.probe(AutoReconnect("geheim"))
    assert answer.state == "down"
    assert "a:1: refused" in answer.reason
    assert "geheim" not in answer.reason


def test_without_a_primary_any_is_ready_and_primary_is_not() -> None:
    assert Desk(NO_PRIMARY).probe().state == "ready"
    desk = Desk(NO_PRIMARY, Terms("primary"))
    assert desk.probe(AutoReconnect("no primary")).state == "down"
    # A ping that a secondary answered, as with directConnection, is no proof either.
    assert desk.probe().state == "down"
    desk.sight = WELL
    assert desk.probe().state == "ready"


def test_a_pool_that_never_saw_its_server_is_starting_and_then_down() -> None:
    desk = Desk(GONE, Terms("any", fall=3))
    assert desk.probe(AutoReconnect("refused")).state == "starting"
    assert desk.probe(AutoReconnect("refused")).state == "down"
    desk.sight = WELL
    assert desk.probe().state == "ready"


def test_a_full_pool_is_degraded_and_not_pinged() -> None:
    desk = Desk()
    desk.sight = FULL
    answer = desk.probe()
    assert (answer.state, answer.ready, answer.saturated) == ("degraded", True, True)
    assert desk.pings == []


def test_a_full_pool_without_the_server_that_is_required_is_not_called_degraded() -> None:
    desk = Desk(WELL, Terms("primary"))
    desk.sight = replace(FULL, primary=False, full=False)
    assert desk.probe(AutoReconnect("no primary")).state == "down"
    assert len(desk.pings) == 1


def test_a_ping_that_found_no_connection_does_not_hide_that_no_server_is_known() -> None:
    desk = Desk()
    desk.sight = GONE
    answer = desk.probe(WaitQueueTimeoutError("none free"))
    assert answer.state == "down"
    assert "a:1: refused" in answer.reason


def test_a_pool_that_fills_up_while_its_ping_waits_is_degraded_soon() -> None:
    desk = Desk()
    steps = desk.examiner.inquire(1.0, 0.0)
    _, seconds = next(steps)
    assert seconds < 0.1
    desk.sight = FULL
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value.state == "degraded"


def test_a_ping_that_finds_every_connection_in_use_says_nothing_about_the_server() -> None:
    desk = Desk()
    for _ in range(5):
        desk.sight = WELL
        steps = desk.examiner.inquire(1.0, 0.0)
        next(steps)
        desk.sight = FULL
        desk.end(WaitQueueTimeoutError("none free"))
        with pytest.raises(StopIteration) as end:
            next(steps)
        assert (end.value.value.state, end.value.value.saturated) == ("degraded", True)


def test_a_ping_that_finds_no_connection_in_a_pool_that_is_not_full_has_failed() -> None:
    desk = Desk()
    first = desk.probe(WaitQueueTimeoutError("none free"))
    assert (first.state, first.saturated) == ("ready", False)
    assert "no connection for a ping" in first.reason
    assert desk.probe(WaitQueueTimeoutError("none free")).state == "down"


def test_a_server_that_is_not_pinged_may_be_full() -> None:
    desk = Desk(replace(WELL, saturated=True))
    assert desk.probe().state == "degraded"
    assert len(desk.pings) == 1
    states = [desk.probe(AutoReconnect("silent")).state for _ in range(2)]
    assert states == ["degraded", "down"]


def test_the_looks_know_of_the_ping_that_is_under_way() -> None:
    desk = Desk()
    steps = desk.examiner.inquire(1.0, 0.0)
    next(steps)
    assert not desk.pinging
    next(steps)
    assert desk.pinging
    desk.end(0.01)
    assert not desk.pinging


def test_a_heartbeat_counts_once() -> None:
    desk = Desk(replace(WELL, heard_at=99.0), Terms("any", rise=3))
    for _ in range(2):
        desk.probe(AutoReconnect("silent"))
    seen = []
    for heard_at in (100.5, 100.5, 100.5, 101.0, 101.0, 102.0):
        desk.sight = replace(FULL, heard_at=heard_at)
        seen.append(desk.probe().state)
    assert seen == ["down"] * 5 + ["degraded"]


def test_a_full_pool_that_was_down_rises_with_a_later_heartbeat_only() -> None:
    desk = Desk(replace(WELL, heard_at=99.0))
    assert desk.probe(AutoReconnect("silent")).ready
    assert not desk.probe(AutoReconnect("silent")).ready
    desk.sight = replace(FULL, heard_at=99.0)
    answer = desk.probe()
    assert (answer.state, answer.ready, answer.saturated) == ("down", False, True)
    desk.sight = replace(FULL, heard_at=100.5)
    assert desk.probe().state == "degraded"
    assert len(desk.pings) == 2


def test_an_answer_serves_for_max_age_and_tells_its_age() -> None:
    desk = Desk()
    desk.probe()
    desk.now += 0.9
    cached = desk.probe(max_age=1.0)
    assert cached.age_seconds == pytest.approx(0.9)
    assert len(desk.pings) == 1
    desk.now += 0.2
    assert desk.probe(max_age=1.0).age_seconds == 0.0
    assert len(desk.pings) == 2


def test_a_cached_answer_stays_what_it_was() -> None:
    desk = Desk()
    desk.probe()
    desk.sight = GONE
    assert desk.probe(max_age=1.0).ready


def test_a_ping_without_an_end_is_given_up_in_time_and_never_doubled() -> None:
    desk = Desk()
    for expected in ("ready", "down", "down"):
        began = desk.now
        answer = desk.probe(None, timeout=2.0)
        assert answer.state == expected
        assert "within 2 s" in answer.reason
        assert 1.8 <= desk.now - began <= 2.0
    assert len(desk.pings) == 1
    assert desk.probe(0.5).state == "ready"
    assert len(desk.pings) == 1


def test_an_impatient_prober_gets_an_answer_and_decides_nothing() -> None:
    desk = Desk()
    patient = desk.examiner.inquire(10.0, 0.0)
    next(patient)
    for _ in range(5):
        answer = desk.probe(None, timeout=0.1)
        assert answer.state == "ready"
        assert "awaited" in answer.reason
    assert len(desk.pings) == 1
    desk.end(0.3)
    with pytest.raises(StopIteration) as end:
        next(patient)
    assert end.value.value.response_seconds == 0.3


def test_whoever_is_cancelled_cancels_nobody_else() -> None:
    desk = Desk()
    first, second = (desk.examiner.inquire(1.0, 0.0) for _ in range(2))
    next(first)
    next(second)
    first.close()
    desk.end(0.02)
    with pytest.raises(StopIteration) as end:
        next(second)
    assert end.value.value.ready
    assert len(desk.pings) == 1


def test_a_ping_that_cannot_be_sent_is_a_failure() -> None:
    desk = Desk()
    desk.refusal = RuntimeError("can't start new thread")
    assert "can't start new thread" in desk.probe().reason
    assert desk.probe().state == "down"
    desk.refusal = None
    assert desk.probe().state == "ready"


def test_a_ping_whose_loop_has_ended_is_a_failure() -> None:
    desk = Desk()
    steps = desk.examiner.inquire(1.0, 0.0)
    next(steps)
    desk.pings[-1].cancel()
    desk.pings[-1].set_running_or_notify_cancel()
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert "event loop" in end.value.value.reason


def test_threads_that_probe_at_once_make_one_ping(wait_until: Callable[..., None]) -> None:
    desk = Desk()
    together = threading.Barrier(20)
    answers: list[Readiness] = []

    def probe() -> None:
        together.wait(5)
        steps = desk.examiner.inquire(1.0, 1.0)
        try:
            future, _ = next(steps)
        except StopIteration as end:
            answers.append(end.value)
            return
        answers.append(future.result(5))

    threads = [threading.Thread(target=probe) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: desk.pings)
    desk.end(0.01)
    for thread in threads:
        thread.join(5)
    assert len(desk.pings) == 1
    assert len(answers) == 20


outcomes = st.sampled_from([0.01, AutoReconnect("x"), WaitQueueTimeoutError("x"), None])
sights = st.sampled_from([WELL, NO_PRIMARY, GONE, FULL])


@given(
    require=st.sampled_from(["any", "primary"]),
    fall=st.integers(1, 3),
    rise=st.integers(1, 3),
    story=st.lists(st.tuples(sights, outcomes, st.floats(0, 3), st.sampled_from([0.0, 1.0])), max_size=30),
)
def test_every_answer_keeps_the_laws(require: Any, fall: int, rise: int, story: list[Any]) -> None:
    desk = Desk(WELL, Terms(require, fall, rise))
    for sight, outcome, pause, max_age in story:
        desk.sight = replace(sight, heard_at=desk.now if sight.readable else 0.0)
        began = desk.now
        answer = desk.probe(outcome, max_age=max_age)
        assert desk.now - began <= 1.0
        assert answer.ready is (answer.state in ("ready", "degraded"))
        assert answer.state != "degraded" or answer.saturated
        assert 0 <= answer.age_seconds <= max_age
        assert answer.reason
        assert sum(not ping.done() for ping in desk.pings) <= 1
        desk.now += pause
