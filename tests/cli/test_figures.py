"""The arithmetic of the demo, and its sentences."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from async_mongo_pool.cli.demo import Plan, sentence
from async_mongo_pool.cli.load import _MIX, Figures, _aggregate, _read, _write, percentile
from async_mongo_pool.cli.screen import HEADING, figures_line, milliseconds

HUNDRED = [float(value) for value in range(1, 101)]


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0, 1), (0.005, 1), (0.01, 1), (0.07, 7), (0.5, 50), (0.99, 99), (0.995, 100), (1, 100)],
)
def test_percentiles_are_of_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile(HUNDRED, share) == expected


def test_few_values() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([1.0, 2.0], 0.5) == 1.0
    assert percentile([1.0, 2.0], 0.51) == 2.0


@given(st.lists(st.floats(0, 100), min_size=1), st.integers(0, 10_000))
def test_so_many_values_are_at_most_the_percentile(values: list[float], share: int) -> None:
    found = percentile(sorted(values), share / 10_000)
    assert found in values
    assert sum(value <= found for value in values) * 10_000 >= share * len(values)


def test_rates_count_what_succeeded() -> None:
    figures = Figures(seconds=2.0, errors=Counter(AutoReconnect=3, NetworkTimeout=1), samples=[0.1] * 10)
    assert (figures.operations, figures.rate, figures.failed) == (10, 5.0, 4)


def test_nothing_measured_is_no_error() -> None:
    figures = Figures()
    assert (figures.operations, figures.rate, figures.failed, figures.latency(0.5)) == (0, 0.0, 0, None)


def test_live_percentiles_forget() -> None:
    figures = Figures(samples=[9.0] * 5000 + [1.0] * 2000)
    assert figures.latency(0.5, recent=True) == 1.0
    assert figures.latency(0.5) == 9.0


def test_the_mix_is_what_the_screen_says() -> None:
    assert Counter(_MIX) == {_read: 14, _write: 5, _aggregate: 1}


def test_figures_stand_under_their_headings() -> None:
    figures = Figures(seconds=1000, samples=[123.5] * 1_000_000)
    assert len(HEADING) == len(figures_line(figures, "at most 100,000")) <= 80


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.0001, "0.1 ms"), (0.9994, "999.4 ms"), (12.3456, "12,346 ms")]
)
def test_milliseconds(seconds: float | None, text: str) -> None:
    assert milliseconds(seconds) == text


def test_a_round_is_shorter_than_the_load() -> None:
    assert Plan(None, "motor", 1, 5, 0).round_seconds == 1
    assert Plan(None, "motor", 1, 0.5, 0).round_seconds == 0.2


def test_a_plan_shows_no_password() -> None:
    assert "geheim" not in repr(Plan("mongodb://anna:geheim@127.0.0.1/", "motor", 1, 1, 0))


def test_a_sentence_has_no_inventory() -> None:
    selection = (
        "pool could not open mongodb://h/: h:1: [Errno 111] Connection refused (configured timeouts: a: 1, b: 2)"
        ", Timeout: 5.0s, Topology Description: <TopologyDescription id: 1, servers: [<S ('h', 1)>]> (check it)"
    )
    said = "pool could not open mongodb://h/: h:1: [Errno 111] Connection refused (check it)"
    assert sentence(ServerSelectionTimeoutError(selection)) == said
    assert sentence(OperationFailure("no, full error: {'ok': 0.0, 'a': {'b': 1}} (check it)")) == "no (check it)"
    assert sentence(RuntimeError("ended. The tail of its log:\nline\nline")) == "ended"
    assert sentence(TimeoutError()) == "TimeoutError"
