"""What the laboratory makes of its figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .laboratory.measure import Figures, longest_gap
from .laboratory.report import complaints, table


def test_the_gap_counts_from_the_beginning_to_the_end() -> None:
    assert longest_gap([2.0, 3.0, 7.0], 1.0, 8.0) == 4.0
    assert longest_gap([4.0, 5.0], 1.0, 5.5) == 3.0
    assert longest_gap([1.5, 2.0], 1.0, 9.0) == 7.0
    assert longest_gap([], 1.0, 9.0) == 8.0
    assert longest_gap([0.1, 0.2, 12.0], 1.0, 9.0) == 8.0


def figures(kind: str = "fast_failover", fault: str = "sigstop", **changes: float) -> Figures:
    made = Figures("motor", kind, fault, 100, 0, 0, {}, 0, 1, gap=4.0, set_gap=3.0, slowest=4.0)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ([figures()], None),
        ([figures(lost=1)], "lost"),
        ([figures("plain", hanging=1)], "never returned"),
        ([figures(gap=5.1)], "more than 5.0 s"),
        ([figures(gap=5.1, fault="stall")], None),
        ([figures("plain", gap=9.0)], None),
        ([figures(gap=5.1, set_gap=4.5)], None),
        ([figures(gap=6.1, set_gap=5.0)], "more than 6.0 s"),
        ([figures("plain", gap=1.0), figures(gap=1.6)], "worse than the plain driver by 0.60 s"),
        ([figures("plain", gap=1.0), figures("ours", gap=1.6)], "worse than the plain driver by 0.60 s"),
        ([figures("plain", gap=1.0), figures(gap=1.3)], None),
    ],
)
def test_what_is_complained_of(found: list[Figures], complaint: str | None) -> None:
    complained = complaints(found)
    assert len(complained) == (complaint is not None)
    if complaint is not None:
        assert complaint in complained[0]


def test_the_table_has_a_row_for_each_fault_and_backend() -> None:
    found = [figures("plain", gap=15.0), figures("ours", gap=15.0), figures(), figures(gap=4.4), figures(failed=2)]
    row = table(found).splitlines()[2]
    assert row == "| sigstop | motor | 3.0 | 15.0 | 15.0 | 4.0 (4.4) | 0 / 0 / 2 | 0 | 0 |"
