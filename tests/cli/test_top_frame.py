"""What ``top`` draws, from snapshots made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from async_mongo_pool.cli.top_frame import ASCII, UNICODE, View, frame, plain
from async_mongo_pool.distribution import Recorder
from async_mongo_pool.stats import (
    CommandStats,
    ExecutorStats,
    Holder,
    PoolSnapshot,
    ServerStats,
    TotalStats,
)


def durations(*seconds: float) -> Recorder:
    recorder = Recorder()
    for each in seconds:
        recorder.record(each)
    return recorder


WAIT = durations(*[0.0003] * 98, 0.7, 0.8).distribution()
COUNTS = {
    "size": 18,
    "used": 10,
    "idle": 6,
    "connecting": 2,
    "pending_requests": 3,
    "checkouts_started": 113,
    "checkouts": 100,
    "checkouts_abandoned": 4,
    "checkout_failures": {"timeout": 5, "connection_error": 1, "pool_closed": 0},
    "connections_created": 20,
    "connections_closed": {"idle": 2, "stale": 0, "error": 0, "pool_closed": 0, "unreported": 0},
}
SERVER = ServerStats(address="db1.example:27017", state="ready", max_size=40, **COUNTS)  # type: ignore[arg-type]
NOW = PoolSnapshot(
    pool="orders",
    backend="motor",
    status="open",
    seconds=3725.0,
    opened_at=1.0,
    servers={SERVER.address: SERVER},
    totals=TotalStats(max_size=40, waiting=15, wait=WAIT, checkout_wait=WAIT, **COUNTS),  # type: ignore[arg-type]
    executor=ExecutorStats(
        workers=10,
        max_workers=40,
        busy=9,
        streaming=1,
        queued=12,
        refused={"timeout": 2, "full": 0, "closing": 0},
    ),
    commands={
        "find": CommandStats(count=80, failures=3, duration=durations(*[0.002] * 80).distribution()),
        "ping": CommandStats(count=1, duration=durations(0.0004).distribution()),
        "insert": CommandStats(),
    },
)
STATS = {
    "status": "connected",
    "connection_string": "mongodb://anna:***@db1.example/",
    "server_version": "8.0.1",
    "server_connections": {"current": 1234, "available": 50000, "total_created": 9876, "error": None},
}
HOLDERS = [
    Holder(
        server="db1.example:27017", connection_id=7, name=f"report-{number}", seconds=75.5 - number, command="find"
    )
    for number in range(8)
]
VIEW = View(
    client="Motor",
    snapshot=NOW,
    delta=replace(NOW, seconds=2.0),
    stats=STATS,
    holders=HOLDERS,
    used=[0, 5, 10],
    waiting=[0, 1, 15],
)


def line_of(text: str, beginning: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(beginning))


@pytest.fixture(scope="module")
def picture() -> str:
    return plain(VIEW, 80)


def test_the_head_names_pool_server_and_state(picture: str) -> None:
    assert picture.startswith("orders with Motor, up 1 h 02 min, MongoDB 8.0.1, async_mongo_pool ")
    assert line_of(picture, "server ") == "server      mongodb://anna:***@db1.example/"
    assert line_of(picture, "status ") == "status      connected, saturated no, drift 0"
    assert line_of(picture, "connections ") == (
        "connections 1,234 at the server, of all its clients; 50,000 left, 9,876 so far"
    )


def test_the_bar_has_a_cell_for_each_connection(picture: str) -> None:
    lines = picture.splitlines()
    bar = lines[lines.index(line_of(picture, "db1.example:27017 ready")) + 1]
    assert bar == UNICODE.used * 10 + UNICODE.idle * 6 + UNICODE.connecting * 2 + UNICODE.free * 22
    assert "10 used, 6 idle, 2 connecting, of at most 40" in picture


def test_the_bar_of_a_large_pool_shows_even_one_connection() -> None:
    server = replace(SERVER, size=2, used=1, idle=1, connecting=0, max_size=1000)
    bar = plain(replace(VIEW, snapshot=replace(NOW, servers={"a": server})), 80).splitlines()
    assert UNICODE.used + UNICODE.idle + UNICODE.free * 78 in bar


def test_a_pool_without_a_limit_has_a_bar_of_what_there_is() -> None:
    text = plain(replace(VIEW, snapshot=replace(NOW, servers={"a": replace(SERVER, max_size=None)})), 80)
    assert "2 connecting, without a limit" in text
    assert UNICODE.used * 10 + UNICODE.idle * 6 + UNICODE.connecting * 2 in text.splitlines()


def test_waits_are_told_by_queue(picture: str) -> None:
    assert line_of(picture, "waiting     15") == "waiting     15: 3 in the driver's queue and 12 in Motor's queue"


def test_rates_are_per_second_of_the_interval(picture: str) -> None:
    assert line_of(picture, "per second") == (
        "per second  50.0 checkouts, 3.0 failed, 2.0 abandoned, 10.0 created, 1.0 closed"
    )


def test_no_time_between_two_pictures_is_no_division_by_zero() -> None:
    assert "0.0 checkouts" in plain(replace(VIEW, delta=replace(NOW, seconds=0.0)), 80)


def test_workers_are_shown_for_motor_only(picture: str) -> None:
    assert line_of(picture, "workers") == (
        "workers     10 of 40: 9 busy, 1 streaming, 12 queued, 1.0 refused per second"
    )
    alone = replace(NOW, executor=None)
    other = plain(replace(VIEW, snapshot=alone, delta=replace(alone, seconds=2.0)), 80)
    assert "workers" not in other
    assert "Motor's queue" not in other


def test_percentiles_stand_below_their_headings(picture: str) -> None:
    heading, wait = line_of(picture, "in 2.0 s"), line_of(picture, "wait  ")
    assert heading.split()[3:] == ["per", "s", "p50", "p95", "p99", "max", "so", "far"]
    assert wait.split() == ["wait", "50.0", "0.3", "ms", "0.5", "ms", "650.0", "ms", "800.0", "ms"]
    assert len(wait) == len(heading) <= 80
    assert line_of(picture, "create").split() == ["create", "0.0", "-", "-", "-", "-"]


def test_commands_are_listed_by_the_time_they_took(picture: str) -> None:
    assert picture.index("  find ") < picture.index("  ping ")
    assert "3 failed" in frame(VIEW, 120).plain
    # Nothing of it happened in this interval.
    assert "insert" not in picture


def test_the_five_longest_holders_and_how_many_more(picture: str) -> None:
    assert line_of(picture, "1 min 16 s").split()[4:] == ["report-0", "find", "db1.example:27017", "#7"]
    assert "report-4" in picture
    assert "report-5" not in picture
    assert picture.endswith("and 3 more")
    assert "nobody holds a connection" in plain(replace(VIEW, holders=()), 80)


def test_the_curves_end_with_now(picture: str) -> None:
    assert line_of(picture, "used  ") == "used        ▁▂▃  at most 10"
    assert line_of(picture, "waiting     ▁") == "waiting     ▁▂█  at most 15"


def test_a_long_history_shows_its_end() -> None:
    text = plain(replace(VIEW, used=[*[40] * 500, *[0] * 60]), 80)
    assert set(line_of(text, "used  ").split()[1]) == {"▁"}


@pytest.mark.parametrize("width", [1, 20, 33, 50, 64, 80, 120])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_no_line_is_wider_than_the_terminal(width: int, glyphs: object) -> None:
    crowded = replace(
        VIEW, stats={**STATS, "error": "no server answers " * 30}, note="mind this " * 30, doing="x" * 200
    )
    text = plain(crowded, width, glyphs)  # type: ignore[arg-type]
    assert max(map(len, text.splitlines())) <= max(width, 20)
    assert text.isascii() is (glyphs is ASCII)


def test_a_narrow_terminal_gets_whole_columns() -> None:
    assert line_of(plain(VIEW, 40), "in 2.0 s").split()[3:] == ["p50", "p99"]
    assert line_of(plain(VIEW, 40), "wait  ").split() == ["wait", "0.3", "ms", "650.0", "ms"]


@pytest.mark.parametrize("height", [24, 30, 40])
def test_it_fits_into_the_rows(height: int) -> None:
    busy = replace(NOW, totals=replace(NOW.totals, heartbeat=WAIT))
    crowded = replace(VIEW, delta=replace(busy, seconds=2.0), note="mind this " * 30, doing="busy")
    for view in (VIEW, crowded):
        lines = frame(view, 80, height).plain.splitlines()
        assert len(lines) <= height
        assert any("report-0" in line for line in lines)


def test_faults_are_told() -> None:
    error = {"status": "error", "error": "no server answers", "server_connections": None}
    lost = replace(VIEW, stats=error, silent_seconds=1.5, snapshot=replace(NOW, drift=2, saturated=True))
    text = plain(lost, 80)
    assert line_of(text, "status ") == "status      error, saturated yes, drift 2, no answer for 1.5 s"
    assert line_of(text, "error ") == "error       no server answers"


def test_a_server_that_does_not_tell_says_why() -> None:
    refused = {"current": None, "available": None, "total_created": None, "error": "not authorized"}
    text = plain(replace(VIEW, stats={**STATS, "server_connections": refused}), 80)
    assert line_of(text, "connections ") == "connections the server did not tell: not authorized"


def test_before_the_first_answer_there_is_a_picture_too() -> None:
    empty = PoolSnapshot(pool="orders", backend="motor")
    text = plain(View(client="Motor", snapshot=empty, delta=empty), 80)
    assert "not asked yet" in text
    assert "the server was not asked" in text
