"""Single hard cases of counting, each spelled out: events out of order, ids used again, events that never come."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from async_mongo_pool.counters import DriverPool, ServerCounters, Waiters

if TYPE_CHECKING:
    from async_mongo_pool.stats import ServerStats

pytestmark = pytest.mark.core


class Counted:
    """Counters with the clock and the waiters that belong to them."""

    def __init__(self) -> None:
        self.waiters: Waiters = {}
        self.counters = ServerCounters(threading.RLock(), self.waiters)

    def open(self, *connections: int) -> None:
        for connection in connections:
            self.counters.connection_created(connection, 0.0)
            self.counters.connection_ready(connection, 0.5)

    def take(self, connection: int, key: str, now: float, waited: float = 0.0) -> None:
        self.counters.check_out_started(key)
        self.counters.checked_out(connection, waited, now, key)

    def stats(self, now: float = 100.0) -> ServerStats:
        stats = self.counters.stats("h:1", now, 10, 0, len(self.waiters))
        assert self.counters.broken_laws(stats) == []
        return stats


@pytest.fixture
def counted() -> Counted:
    return Counted()


def nobody_is_gone(key: str) -> bool:
    return False


def test_the_next_use_is_announced_before_the_return_of_the_last(counted: Counted) -> None:
    counted.open(1)
    counted.take(1, "a", now=10.0)
    counted.take(1, "b", now=12.0)
    assert counted.stats().used == 1

    counted.counters.checked_in(1, now=13.0)
    during = counted.stats()
    assert (during.used, during.idle) == (1, 0)
    # The first return is a's, whatever came in between.
    assert during.connection_use.sum_seconds == pytest.approx(3.0)

    counted.counters.checked_in(1, now=20.0)
    after = counted.stats()
    assert (after.used, after.idle, after.connection_use.count) == (0, 1, 2)
    assert after.connection_use.sum_seconds == pytest.approx(3.0 + 8.0)
    assert after.connection_use.max_seconds == pytest.approx(8.0)


def test_connections_of_a_closed_pool_report_under_the_numbers_of_the_next(counted: Counted) -> None:
    counted.open(1)
    counted.take(1, "a", now=1.0)
    counted.counters.pool_closed()
    counted.counters.pool_created()
    counted.open(1)
    counted.take(1, "b", now=2.0)
    assert (counted.stats().used, counted.stats().size) == (2, 2)

    counted.counters.checked_in(1, now=3.0)
    counted.counters.connection_closed(1, "pool_closed")
    assert (counted.stats().used, counted.stats().size) == (1, 1)
    counted.counters.checked_in(1, now=4.0)
    assert (counted.stats().used, counted.stats().idle) == (0, 1)


def test_what_was_never_begun_does_not_end(counted: Counted) -> None:
    counted.counters.connection_closed(7, "error")
    counted.counters.checked_in(7, now=1.0)
    counted.counters.connection_ready(7, now=1.0)
    stats = counted.stats()
    assert (stats.size, sum(stats.connections_closed.values()), stats.connection_use.count) == (0, 0, 0)
    assert stats.connection_create.count == 0


def test_a_handshake_that_fails_leaves_an_open_connection_of_the_same_number_alone(counted: Counted) -> None:
    counted.open(1)
    counted.counters.pool_created()
    counted.counters.connection_created(1, now=1.0)
    counted.counters.connection_closed(1, "error")
    assert (counted.stats().connecting, counted.stats().size) == (0, 1)


def test_the_longest_of_each_is_kept(counted: Counted) -> None:
    counted.open(1)
    for waited, used in ((0.2, 1.0), (0.7, 3.0), (0.1, 2.0)):
        counted.take(1, "a", now=10.0, waited=waited)
        counted.counters.checked_in(1, now=10.0 + used)
    stats = counted.stats()
    assert (stats.checkout_wait.max_seconds, stats.connection_use.max_seconds) == (0.7, 3.0)
    assert stats.connection_create.max_seconds == 0.5


def test_a_use_that_the_driver_knows_nothing_of_is_over(counted: Counted) -> None:
    counted.open(1, 2)
    counted.take(1, "a", now=1.0)
    counted.take(2, "b", now=2.0)
    # Somebody's check-in and closing were lost; whose cannot be told, but how many can.
    counted.counters.reconcile(DriverPool(frozenset(), 1, 0, 1, 1), nobody_is_gone)
    stats = counted.stats()
    assert (stats.used, stats.idle, stats.size) == (1, 0, 1)
    assert (stats.connections_closed["unreported"], stats.events_missed) == (1, 2)

    for _ in range(2):
        counted.counters.reconcile(DriverPool(frozenset(), 1, 0, 1, 1), lambda key: key == "a")
    assert [connection for connection, _ in counted.counters.used.items()] == [2]
    stats = counted.stats()
    assert (stats.used, stats.size, stats.connections_closed["unreported"]) == (1, 1, 1)


def test_a_used_connection_that_is_idle_in_the_driver_was_returned(counted: Counted) -> None:
    counted.open(1, 2)
    counted.take(1, "a", now=1.0)
    counted.take(2, "b", now=1.0)
    counted.counters.reconcile(DriverPool(frozenset({1}), 1, 0, 1, 1), nobody_is_gone)
    assert [connection for connection, _ in counted.counters.used.items()] == [2]
    assert (counted.stats().used, counted.stats().idle, counted.stats().events_missed) == (1, 1, 1)


def test_a_connection_on_its_way_to_its_user_is_not_taken_for_lost(counted: Counted) -> None:
    counted.open(1)
    counted.counters.check_out_started("a")
    counted.counters.reconcile(DriverPool(frozenset(), 1, 0, 1, 1), nobody_is_gone)
    assert (counted.stats().size, counted.stats().events_missed) == (1, 0)


def test_while_another_connects_a_lost_closing_is_still_found(counted: Counted) -> None:
    counted.open(1)
    counted.counters.check_out_started("a")
    counted.counters.connection_created(2, now=1.0)
    counted.counters.reconcile(DriverPool(frozenset(), 1, 1, 1, 1), nobody_is_gone)
    assert counted.stats().events_missed == 0
    counted.counters.reconcile(DriverPool(frozenset(), 1, 1, 1, 1), nobody_is_gone)
    stats = counted.stats()
    assert (stats.idle, stats.connecting, stats.connections_closed["unreported"]) == (0, 1, 1)


def test_a_closing_that_is_told_late_gets_its_reason(counted: Counted) -> None:
    counted.open(1)
    counted.counters.reconcile(DriverPool(frozenset(), 0, 0, 0, 0), nobody_is_gone)
    assert counted.stats().connections_closed["unreported"] == 1
    counted.counters.connection_closed(1, "stale")
    stats = counted.stats()
    assert (stats.connections_closed["unreported"], stats.connections_closed["stale"]) == (0, 1)


def test_a_wrong_guess_is_mended_by_the_next_look(counted: Counted) -> None:
    counted.open(1)
    counted.counters.reconcile(DriverPool(frozenset(), 0, 0, 0, 0), nobody_is_gone)
    assert counted.stats().size == 0
    counted.counters.reconcile(DriverPool(frozenset({1}), 0, 0, 0, 0), nobody_is_gone)
    assert (counted.stats().idle, counted.stats().events_missed) == (1, 0)


def test_a_connection_closed_before_it_is_checked_in_is_gone_at_once(counted: Counted) -> None:
    counted.open(1)
    counted.take(1, "a", now=1.0)
    counted.counters.connection_closed(1, "error")
    counted.counters.reconcile(DriverPool(frozenset(), 1, 0, 1, 1), nobody_is_gone)
    stats = counted.stats()
    assert (stats.size, stats.connections_closed["error"], stats.connections_closed["unreported"]) == (0, 1, 0)
    counted.counters.checked_in(1, now=2.0)
    assert (counted.stats().used, counted.stats().events_missed) == (0, 0)


def test_counts_that_agree_with_the_drivers_need_no_closer_look(counted: Counted) -> None:
    counted.open(1, 2, 3)
    counted.take(1, "a", now=1.0)
    agrees = counted.counters.agrees
    assert agrees(2, 1, 0, 1, 1)
    for others in ((3, 1, 0, 1, 1), (2, 0, 0, 1, 1), (2, 1, 1, 1, 1), (2, 1, 0, 2, 1), (2, 1, 0, 1, 2)):
        assert not agrees(*others)
    counted.counters.check_out_started("b")
    assert not agrees(2, 1, 0, 1, 1)
    counted.counters.checked_out(2, 0.0, 2.0, "b")
    counted.counters.connection_created(4, now=2.0)
    assert not agrees(1, 2, 0, 2, 2)


def test_what_was_lost_is_found_again_once_the_counts_agree(counted: Counted) -> None:
    counted.open(1)
    counted.take(1, "a", now=1.0)
    counted.counters.reconcile(DriverPool(frozenset(), 0, 0, 0, 0), nobody_is_gone)
    assert counted.stats().used == 0
    assert counted.counters.agrees(0, 1, 0, 1, 1)
    assert (counted.stats().used, counted.stats().size) == (1, 1)


def test_guesses_are_remembered_within_bounds(counted: Counted) -> None:
    counted.open(*range(1, 3001))
    counted.counters.reconcile(DriverPool(frozenset(), 0, 0, 0, 0), nobody_is_gone)
    assert counted.stats().connections_closed["unreported"] == 3000
    assert len(counted.counters._guessed) <= 1000
    counted.counters.pool_created()
    assert counted.counters._guessed == set()


def test_whoever_is_about_to_ask_is_not_taken_for_lost(counted: Counted) -> None:
    for key in "abc":
        counted.counters.check_out_started(key)
    counted.counters.reconcile(DriverPool(frozenset(), 0, 0, 0, 1, entering=2), nobody_is_gone)
    assert (counted.stats().pending_requests, counted.stats().checkouts_abandoned) == (3, 0)


def test_waits_that_the_driver_knows_nothing_of_are_abandoned(counted: Counted) -> None:
    for key in "abc":
        counted.counters.check_out_started(key)
    counted.counters.reconcile(DriverPool(frozenset(), 0, 0, 0, 1), nobody_is_gone)
    stats = counted.stats()
    assert (stats.pending_requests, stats.checkouts_abandoned, stats.checkouts_started) == (1, 2, 3)
    counted.counters.reconcile(DriverPool(frozenset(), 0, 0, 0, 3), nobody_is_gone)
    assert (counted.stats().pending_requests, counted.stats().checkouts_abandoned) == (3, 0)


def test_waits_found_to_be_too_many_are_not_abandoned_twice(counted: Counted) -> None:
    for key in "abcde":
        counted.counters.check_out_started(key)
    counted.counters.reconcile(DriverPool(frozenset(), 0, 0, 0, 2), nobody_is_gone)
    assert (counted.stats().pending_requests, counted.stats().checkouts_abandoned) == (2, 3)
    for key in "abc":
        counted.waiters.pop(key).given_up()
    assert (counted.stats().pending_requests, counted.stats().checkouts_abandoned) == (2, 3)


def test_uses_of_a_server_that_has_left_end_with_their_tasks(counted: Counted) -> None:
    counted.open(1, 2)
    counted.take(1, "a", now=1.0)
    counted.take(2, "b", now=1.0)
    counted.counters.pool_closed()
    counted.counters.forget_uses(lambda key: key == "a")
    stats = counted.stats()
    assert (stats.used, stats.size, stats.connections_closed["unreported"]) == (1, 1, 1)


def test_numbers_that_contradict_each_other_name_their_law(counted: Counted) -> None:
    counters = counted.counters

    def broken() -> list[str]:
        return counters.broken_laws(counters.stats("h:1", 1.0, 10, 0, 0))

    counted.open(1)
    counted.take(1, "a", now=1.0)
    assert broken() == []
    counters.use.record(1.0)
    assert broken() == ["checked out = returned + used"]
    counters.used.take(1)
    counters.created += 1
    assert broken() == ["created = closed + size"]
    counters.created -= 1
    counters.abandoned = -1
    assert broken() == ["nothing is negative"]
