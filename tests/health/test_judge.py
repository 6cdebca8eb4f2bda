"""When a pool counts as ready: laws of the state machine, over sequences nobody would think of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_mongo_pool.health.judge import Judge, Terms

pytestmark = pytest.mark.core

thresholds = st.integers(1, 5)
signs = st.lists(st.booleans(), max_size=60)


def at_the_end_in_a_row(history: list[bool], sign: bool) -> int:
    number = 0
    for each in reversed(history):
        if each is not sign:
            break
        number += 1
    return number


@given(fall=thresholds, rise=thresholds, began_ready=st.booleans(), history=signs)
def test_it_changes_only_after_enough_signs_in_a_row(
    fall: int, rise: int, began_ready: bool, history: list[bool]
) -> None:
    judge = Judge(Terms("any", fall, rise), ready=began_ready)
    ready, ever_ready = began_ready, began_ready
    for place, sign in enumerate(history, start=1):
        judge.good() if sign else judge.bad()
        in_a_row = at_the_end_in_a_row(history[:place], sign)
        if sign and in_a_row >= rise:
            ready = ever_ready = True
        elif not sign and in_a_row >= fall:
            ready = False
        assert judge.ready is ready
        given_up = ever_ready or at_the_end_in_a_row(history[:place], False) >= fall
        # Never ready so far, it is "starting" until it is given up, and again whenever there is a good sign.
        assert judge.state == ("ready" if ready else "down" if given_up else "starting")


@given(fall=thresholds, history=signs)
def test_several_bad_signs_count_as_so_many_in_a_row(fall: int, history: list[bool]) -> None:
    one_by_one, at_once = (Judge(Terms("any", fall, 1), ready=True) for _ in range(2))
    for sign in history:
        if sign:
            one_by_one.good()
            at_once.good()
        else:
            one_by_one.bad()
            one_by_one.bad()
            at_once.bad(2)
        assert (one_by_one.ready, one_by_one.state) == (at_once.ready, at_once.state)


def test_no_bad_sign_is_no_sign() -> None:
    judge = Judge(Terms("any", 2, 2))
    judge.good()
    judge.bad(0)
    judge.good()
    assert judge.ready
