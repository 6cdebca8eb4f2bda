"""The clock that limits in this suite are held against."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.timing import HOPS, Moment, Took, now

SPIN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


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


def test_the_sampler_sees_a_machine_that_is_busy() -> None:
    began = now()
    cores = os.cpu_count() or 1
    spinners = [subprocess.Popen([sys.executable, "-S", "-c", SPIN]) for _ in range(4 * cores)]
    for spinner in spinners:
        assert spinner.wait(20) == 0
    assert (now() - began).stalled > 0.02
