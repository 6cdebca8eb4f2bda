"""The counters against a model of the driver, after any interleaving of what it does and what it publishes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from async_mongo_pool.counters import ServerCounters, Waiters

from .driver_model import Actor, DriverModel

if TYPE_CHECKING:
    from async_mongo_pool.stats import ServerStats

pytestmark = pytest.mark.core

ACTORS = 6
CLOSE_REASONS = st.sampled_from(["idle", "stale"])


class Counting(RuleBasedStateMachine):
    """Threads: every event is published, some of them late."""

    tasks = False

    def __init__(self) -> None:
        super().__init__()
        self.fork()

    @rule()
    def fork(self) -> None:
        """In a forked child the counters are new, and so is the driver's pool."""
        self.waiters: Waiters = {}
        self.counters = ServerCounters(threading.RLock(), self.waiters)
        self.model = DriverModel(self.counters, ACTORS)

    def numbers(self) -> ServerStats:
        waiting = sum(server is self.counters for server in self.waiters.values())
        return self.counters.stats("h:1", self.model.now, 100, 0, waiting)

    def choose(self, data: st.DataObject, *doing: str) -> Actor | None:
        """An actor that does one of these and owes nothing."""
        able = [each for each in self.model.actors if each.doing in doing and not each.owed]
        return data.draw(st.sampled_from(able), label=doing[0]) if able else None

    @precondition(lambda self: not self.model.all_published)
    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        owing = [each for each in self.model.actors if each.owed]
        self.model.publish(data.draw(st.sampled_from(owing), label="publishes"))

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        if actor := self.choose(data, "nothing"):
            self.model.ask(actor)

    @rule(data=st.data())
    def reuse(self, data: st.DataObject) -> None:
        if self.model.pool.idle and (actor := self.choose(data, "waiting")):
            self.model.reuse(actor)

    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        if actor := self.choose(data, "waiting"):
            self.model.connect(actor, "connecting")

    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        if actor := self.choose(data, "nothing"):
            self.model.connect(actor, "filling")

    @rule(data=st.data(), well=st.booleans())
    def end_connecting(self, data: st.DataObject, *, well: bool) -> None:
        if actor := self.choose(data, "connecting", "filling"):
            (self.model.connected if well else self.model.connecting_failed)(actor)

    @rule(data=st.data())
    def wait_in_vain(self, data: st.DataObject) -> None:
        if actor := self.choose(data, "waiting"):
            self.model.wait_in_vain(actor)

    @rule(data=st.data())
    def authenticate_again(self, data: st.DataObject) -> None:
        if actor := self.choose(data, "using"):
            self.model.authenticate_again(actor)

    @rule(data=st.data(), broken=st.booleans())
    def give_back(self, data: st.DataObject, *, broken: bool) -> None:
        if actor := self.choose(data, "using"):
            self.model.give_back(actor, broken=broken)

    @rule(data=st.data(), reason=CLOSE_REASONS)
    def drop_idle(self, data: st.DataObject, reason: str) -> None:
        if actor := self.choose(data, "nothing"):
            self.model.drop_idle(actor, reason)

    @rule(data=st.data())
    def begin_again(self, data: st.DataObject) -> None:
        if not self.tasks and (actor := self.choose(data, "nothing")):
            self.model.begin_again(actor)

    @rule(pauses=st.booleans())
    def clear(self, *, pauses: bool) -> None:
        self.counters.pool_cleared(pauses=pauses)
        self.counters.pool_ready()

    @invariant()
    def the_laws_hold(self) -> None:
        assert self.counters.broken_laws(self.numbers()) == []

    @invariant()
    def with_all_published_the_numbers_are_the_truth(self) -> None:
        if self.model.all_published:
            self.compare()

    def compare(self) -> None:
        model, stats = self.model, self.numbers()
        assert (stats.used, stats.size) == (model.used, model.used + len(model.pool.idle) + model.connecting)
        if not model.ids_used_twice:
            # Else the failure of a new connection and of an old one with its number cannot be told apart.
            assert (stats.idle, stats.connecting) == (len(model.pool.idle), model.connecting)
        assert stats.pending_requests == model.waiting
        assert stats.checkouts_started == model.started
        assert stats.checkouts == model.succeeded
        assert sum(stats.checkout_failures.values()) == model.failed
        assert stats.checkouts_abandoned == model.given_up
        assert stats.connections_created == model.created
        assert sum(stats.connections_closed.values()) == model.closed


class CountingTasks(Counting):
    """Tasks: nothing is late, but cancelled ones publish half of their events. Reconciling finds out."""

    tasks = True

    def publish_all(self) -> None:
        for actor in self.model.actors:
            while actor.owed:
                self.model.publish(actor)

    @rule(data=st.data())
    def cancel_a_waiter(self, data: st.DataObject) -> None:
        if actor := self.choose(data, "waiting"):
            actor.doing = "nothing"
            self.model.given_up += 1

    @rule(data=st.data(), broken=st.booleans())
    def cancel_while_giving_back(self, data: st.DataObject, *, broken: bool) -> None:
        if actor := self.choose(data, "using"):
            self.model.give_back(actor, broken=broken)
            actor.owed.clear()

    @rule(data=st.data())
    def cancel_while_connecting(self, data: st.DataObject) -> None:
        if actor := self.choose(data, "connecting", "filling"):
            self.model.given_up += actor.doing == "connecting"
            self.model.closed += 1
            actor.doing = "nothing"

    @rule(data=st.data())
    def cancel_while_closing_an_idle_one(self, data: st.DataObject) -> None:
        if actor := self.choose(data, "nothing"):
            self.model.drop_idle(actor, "stale")
            actor.owed.clear()

    @invariant()
    def with_all_published_the_numbers_are_the_truth(self) -> None:
        self.publish_all()
        for _ in range(2):
            # The second look finds what might have been on its way at the first.
            self.counters.reconcile(self.model.driver_pool(), lambda key: False)
        self.compare()
        assert self.counters.broken_laws(self.numbers()) == []


def machine(case: type[RuleBasedStateMachine]) -> type:
    case.TestCase.settings = settings(
        max_examples=150,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    return case.TestCase


class TestCountingThreads(machine(Counting)):  # type: ignore[misc]
    """Late events, reused ids, clears, forks."""


class TestCountingTasks(machine(CountingTasks)):  # type: ignore[misc]
    """Events that never come."""
