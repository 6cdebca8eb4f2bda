"""The thread that logs for the observers: bounded, patient with handlers, and gone when it is stopped."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from async_mongo_pool.observers import log_thread as log_threads
from async_mongo_pool.observers.log_thread import QUEUE_LIMIT, LogThread

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

AT_EXIT = """
import logging, sys, time
import async_mongo_pool.processes
from async_mongo_pool.observers.log_thread import LogThread

class Slow(logging.Handler):
    def emit(self, record):
        time.sleep(float(sys.argv[1]))
        print(record.getMessage(), flush=True)

logger = logging.getLogger("async_mongo_pool")
logger.addHandler(Slow())
thread = LogThread("Orders")
for number in range(int(sys.argv[2])):
    thread.hand_over(lambda number=number: logger.warning("message %d", number))
"""

logger = logging.getLogger("async_mongo_pool")


def blocked(started: threading.Event, released: threading.Event) -> None:
    started.set()
    released.wait(20)


def test_messages_beyond_the_bound_are_dropped_counted_and_told(
    log: Callable[..., list[str]], wait_until: Callable[..., None]
) -> None:
    thread = LogThread("Orders")
    started, released = threading.Event(), threading.Event()
    thread.hand_over(partial(blocked, started, released))
    assert started.wait(5)
    for number in range(QUEUE_LIMIT + 25):
        thread.hand_over(partial(logger.warning, "message %d", number))
    released.set()
    wait_until(lambda: log("were dropped"))
    thread.stop()
    assert log("25 messages were dropped", "WARNING") == log("were dropped")
    wait_until(lambda: len(log("message ")) == QUEUE_LIMIT)


def test_a_handler_that_raises_does_not_end_the_thread(
    log: Callable[..., list[str]], wait_until: Callable[..., None]
) -> None:
    thread = LogThread("Orders")

    def bad() -> None:
        raise ZeroDivisionError

    thread.hand_over(bad)
    thread.hand_over(partial(logger.warning, "still here"))
    wait_until(lambda: log("still here"))
    thread.stop()


def test_a_look_that_fails_is_told_once_for_its_kind_and_does_not_end_the_thread(
    log: Callable[..., list[str]], wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_threads, "_AFTER_A_FAILED_LOOK", 0.01)
    looks: list[None] = []

    def look() -> float | None:
        looks.append(None)
        if len(looks) < 10:
            raise RuntimeError("dictionary changed size during iteration")
        if len(looks) < 20:
            raise ValueError("another one")
        return None

    thread = LogThread("Orders", look)
    thread.wake()
    wait_until(lambda: len(looks) >= 20)
    thread.hand_over(partial(logger.warning, "still here"))
    wait_until(lambda: log("still here"))
    thread.stop()
    assert log("the watch failed", "WARNING") == ["Orders: the watch failed"] * 2


def said_at_exit(seconds: float, messages: int) -> tuple[list[str], str]:
    command = [sys.executable, "-c", AT_EXIT, str(seconds), str(messages)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return ended.stdout.splitlines(), ended.stderr


def test_what_was_handed_over_before_the_end_of_the_process_is_said() -> None:
    assert said_at_exit(0.002, 30) == ([f"message {number}" for number in range(30)], "")


def test_at_the_end_of_the_process_what_slow_handlers_leave_is_counted() -> None:
    lines, errors = said_at_exit(0.05, 200)
    assert lines[0] == "message 0"
    assert lines[-1].endswith(
        f"{200 - len(lines) + 1} messages were dropped because the log handlers are slower than they came"
    )
    assert errors == ""


def test_what_was_handed_over_before_stop_is_said(
    log: Callable[..., list[str]], wait_until: Callable[..., None]
) -> None:
    thread = LogThread("Orders")
    for number in range(50):
        thread.hand_over(partial(logger.warning, "message %d", number))
    thread.stop()
    thread.hand_over(partial(logger.warning, "too late"))
    wait_until(lambda: len(log("message")) == 50)
    wait_until(lambda: not any(each.name == "Orders-log" for each in threading.enumerate()))
    assert not log("too late")


def test_after_stop_a_slow_handler_does_not_keep_the_thread_for_long(
    log: Callable[..., list[str]], wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_threads, "LAST_WORDS", 0.1)
    thread = LogThread("Orders")
    for _ in range(500):
        thread.hand_over(partial(time.sleep, 0.02))
    thread.stop()
    wait_until(lambda: not any(each.name == "Orders-log" for each in threading.enumerate()), 5)
    assert log("messages were dropped")


def test_a_thread_that_was_never_needed_can_be_stopped() -> None:
    thread = LogThread("Orders")
    thread.stop()
    thread.hand_over(partial(logger.warning, "too late"))
    assert not any(each.name == "Orders-log" for each in threading.enumerate())


def test_two_who_come_first_start_one_thread() -> None:
    thread = LogThread("Orders")
    # Both have seen that there is none.
    thread._start()
    thread._start()
    assert [each.name for each in threading.enumerate()].count("Orders-log") == 1
    thread.stop()
