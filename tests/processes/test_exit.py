"""The end of a process that forgot to close: soon, silent, and nothing is left on the server."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from async_mongo_pool.testing import Mongod
from tests.timing import Took

from .running import Script, run_script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from async_mongo_pool.testing import Server

    from .running import Outcome

HELD_AT_THE_END = """
import logging, sys, threading, time
from async_mongo_pool import MongoDBConnectionPool as Pool

class Say(logging.Handler):
    def emit(self, record):
        print(record.getMessage(), flush=True)

logger = logging.getLogger("async_mongo_pool")
logger.setLevel(logging.INFO)
logger.addHandler(Say())
client = Pool.initialize(sys.argv[1], slow_checkout_ms=50)
slow = {"sleep": 1, "millis": 500, "lock": "none"}
threading.Thread(target=lambda: client.admin.command(slow), daemon=True).start()
while not Pool.snapshot().totals.slow_checkouts:
    time.sleep(0.01)
"""

every_backend = pytest.mark.parametrize("backend", ["motor", "pymongo", "sync"])


@pytest.fixture
def own_server() -> Iterator[Mongod]:
    """A server of the test's own, because it will be stopped with SIGSTOP."""
    with Mongod() as server:
        yield server
        server.resume()


def time_to_leave(outcome: Outcome) -> Took:
    """From the end of ``main`` to the end of the process; both read the one monotonic clock of the system."""
    return Took(outcome.ended - float(last_words(outcome)["over"]), outcome.stalled)


def last_words(outcome: Outcome) -> dict[str, Any]:
    """What the script reported at the end of ``main``."""
    return next(report for report in outcome.reports if "over" in report)


def closings_after_main(outcome: Outcome) -> list[str]:
    """What was told of closings between the end of ``main`` and the end of the process."""
    after = outcome.reports[outcome.reports.index(last_words(outcome)) :]
    return [report["told"] for report in after if "told" in report]


@pytest.mark.serial
@every_backend
def test_operations_on_a_frozen_server_do_not_keep_the_process(backend: str, own_server: Mongod) -> None:
    with Script("leaving", "frozen", backend, own_server.uri) as script:
        assert script.next_report()["ready"]
        own_server.suspend()
        script.go_on()
        outcome = script.outcome(20)
    assert outcome.exit_code == 0
    assert time_to_leave(outcome) < 2.0
    assert outcome.stderr == ""


@pytest.mark.core
@every_backend
@pytest.mark.parametrize(
    ("way", "clients"),
    [
        ("never_closed", 1),
        ("never_closed_after_a_replacement", 2),
        ("three_pools_never_closed", 3),
        ("closed_at_exit", 1),
    ],
)
def test_a_script_that_never_closes_ends_soon_in_silence_and_leaves_no_connection(
    way: str, clients: int, backend: str, mongod: Server, wait_until: Callable[..., None]
) -> None:
    outcome = run_script("leaving", way, backend, mongod.uri, strict=True)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert time_to_leave(outcome) < 1.5
    assert closings_after_main(outcome)
    # The replaced client of a loop that has ended went with its loop, before the end of main.
    assert sum("told" in report for report in outcome.reports) == clients
    wait_until(lambda: not mongod.connections(appname=last_words(outcome)["name"]))


@pytest.mark.core
def test_a_script_that_overwrote_get_io_loop_ends_in_silence_too(mongod: Server) -> None:
    outcome = run_script("leaving", "never_closed_with_an_overwritten_loop", "motor", mongod.uri, strict=True)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert len(closings_after_main(outcome)) == 1


def test_what_is_noticed_while_pools_close_at_the_end_is_still_said(mongod: Server) -> None:
    command = [sys.executable, "-c", HELD_AT_THE_END, mongod.uri]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    said = [line for line in ended.stdout.splitlines() if "connection 1" in line]
    assert len(said) == 2, said
    assert "has been held" in said[0]
    assert "returned after" in said[1]


@pytest.mark.core
@every_backend
@pytest.mark.parametrize("way", ["closed", "closed_by_scope"])
def test_a_script_that_closes_has_nothing_to_warn_of(way: str, backend: str, mongod: Server) -> None:
    outcome = run_script("leaving", way, backend, mongod.uri, strict=True)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert mongod.connections(appname=last_words(outcome)["name"]) == []
