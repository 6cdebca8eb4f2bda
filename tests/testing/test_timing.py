"""The clock that limits in this suite are held against."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from tests import timing
from tests.timing import HOPS, Moment, Took, now

if TYPE_CHECKING:
    from collections.abc import Callable


def test_an_upper_limit_leaves_out_the_stalls_and_a_lower_one_does_not() -> None:
    took = Moment(12.0, 5.25) - Moment(10.0, 5.0)
    assert took == Took(2.0, 0.25)
    assert took >= 2
    assert not took > 2
    assert took <= 2 - HOPS * 0.25
    assert not took < 2 - HOPS * 0.25
    assert 2 <= took < 1.01


def test_on_a_quiet_machine_time_is_time() -> None:
    assert not Took(0.2, 0.0) < 0.2
    assert Took(0.2, 0.0) <= 0.2


def test_the_sampler_counts_the_time_that_it_did_not_get(wait_until: Callable[..., None]) -> None:
    sampler = timing._Stalls.sampler
    assert sampler is not None
    wait_until(timing._Stalls.are_measured)
    began = now()
    sampler.send_signal(signal.SIGSTOP)
    try:
        time.sleep(0.3)
    finally:
        sampler.send_signal(signal.SIGCONT)
    wait_until(lambda: (now() - began).stalled > 0.2)
    took = now() - began
    assert took.stalled <= took.seconds
