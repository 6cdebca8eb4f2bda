"""The waiting line and its deadlines, against a model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_mongo_pool.backends.admission.line import GONE, STARTED, WAITING, Deadlines, WaitingLine

pytestmark = pytest.mark.core


class Guest:
    def __init__(self, number: int, rank: int = 2) -> None:
        self.number = number
        self.rank = rank
        self.urgent = rank == 0
        self.ahead = rank < 2
        self.state = WAITING
        self.call: Any = object()
        self.session: Any = None
        self.out_of_turn = False

    def forget(self) -> None:
        self.call = None


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2)),
        st.tuples(st.just("take"), st.booleans()),
        st.tuples(st.just("leave"), st.integers(0, 200)),
        st.tuples(st.just("put back"), st.integers(0, 200)),
    ),
    max_size=300,
)


@given(steps)
def test_the_order_and_the_count_are_those_of_three_plain_lists(steps: list[tuple[str, Any]]) -> None:
    line: WaitingLine[Guest] = WaitingLine()
    urgent: list[Guest] = []
    ahead: list[Guest] = []
    behind: list[Guest] = []
    ranks = (urgent, ahead, behind)
    in_a_row = 0
    everybody: list[Guest] = []
    for step, argument in steps:
        if step == "add":
            guest = Guest(len(everybody), argument)
            everybody.append(guest)
            ranks[argument].append(guest)
            line.add(guest)
        elif step == "take":
            in_turn = bool(behind) and argument and in_a_row >= 3
            chosen = urgent or (ahead if not in_turn else []) or (behind if argument else [])
            expected = chosen.pop(0) if chosen else None
            if expected is not None and not expected.urgent:
                in_a_row = in_a_row + 1 if expected.ahead else 0
            assert line.take(new_work=argument) is expected
            assert expected is None or expected.state == STARTED
        elif everybody:
            guest = everybody[argument % len(everybody)]
            mine = ranks[guest.rank]
            if step == "put back":
                if guest.state == STARTED:
                    line.put_back(guest)
                    mine.insert(0, guest)
            else:
                assert line.leave(guest) is (guest in mine)
                if guest in mine:
                    mine.remove(guest)
                    assert guest.state == GONE
                    assert guest.call is None
        assert (line.waiting, line.waiting_ahead) == (sum(map(len, ranks)), len(urgent) + len(ahead))
    drained = line.drain()
    assert [[guest for guest in drained if guest.rank == rank] for rank in range(3)] == list(ranks)
    assert line.waiting == line.waiting_ahead == 0


def test_cursors_without_end_let_new_work_have_its_turn() -> None:
    line: WaitingLine[Guest] = WaitingLine()
    for number in range(20):
        line.add(Guest(number, 1))
    new = [Guest(100), Guest(101)]
    for guest in new:
        line.add(guest)
    line.add(Guest(200, 0))
    order = [taken.number for _ in range(9) if (taken := line.take(new_work=True)) is not None]
    assert order == [200, 0, 1, 2, 100, 3, 4, 5, 101]
    assert line.take(new_work=False) is not None


def test_those_who_left_do_not_pile_up() -> None:
    line: WaitingLine[Guest] = WaitingLine()
    first = Guest(0)
    line.add(first)
    for number in range(10_000):
        guest = Guest(number)
        line.add(guest)
        line.leave(guest)
    assert len(line._behind) + len(line._ahead) < 200
    assert line.take(new_work=True) is first


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from([WAITING, STARTED, GONE]))), st.floats(0, 100))
def test_exactly_those_who_still_wait_expire_in_the_order_of_their_deadlines(
    guests: list[tuple[float, int]], now: float
) -> None:
    deadlines: Deadlines[Guest] = Deadlines()
    made = []
    for number, (due, state) in enumerate(guests):
        guest = Guest(number)
        guest.state = state
        deadlines.add(due, guest)
        made.append((due, number, guest))
    waiting = sorted((due, number) for due, number, guest in made if guest.state == WAITING)
    assert [guest.number for guest in deadlines.expired(now)] == [number for due, number in waiting if due <= now]
    later = [due for due, _ in waiting if due > now]
    assert deadlines.next_due() == (later[0] if later else None)


def test_deadlines_of_those_who_wait_no_more_do_not_pile_up() -> None:
    deadlines: Deadlines[Guest] = Deadlines()
    waits = Guest(-1)
    deadlines.add(5.0, waits)
    for number in range(10_000):
        guest = Guest(number)
        deadlines.add(10.0 + number, guest)
        guest.state = STARTED
    assert len(deadlines) < 200
    assert deadlines.expired(1e9) == [waits]
