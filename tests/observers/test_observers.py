"""All observers of a client together: what a configuration switches on, what it costs when off, and a fork."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool.addresses import address_text
from async_mongo_pool.config import resolve
from async_mongo_pool.events import ConnectionEvents, TaskConnectionEvents
from async_mongo_pool.observers import Observers

from .clients import Observed

if TYPE_CHECKING:
    from collections.abc import Callable

URI = "mongodb://localhost"


@pytest.mark.parametrize(
    ("options", "listeners"),
    [
        ({}, []),
        ({"slow_checkout_ms": 100}, ["SlowCheckouts"]),
        ({"slow_checkout_stack": True}, []),
        ({"command_stats": True}, ["CommandTimes"]),
        ({"slow_command_ms": 100}, ["SlowCommands"]),
        ({"heartbeat_stats": True}, ["HeartbeatTimes"]),
        (
            {"slow_checkout_ms": 1, "command_stats": True, "slow_command_ms": 1, "heartbeat_stats": True},
            ["SlowCheckouts", "CommandTimes", "SlowCommands", "HeartbeatTimes"],
        ),
    ],
)
def test_an_observer_is_there_only_when_its_option_is_set(options: dict[str, Any], listeners: list[str]) -> None:
    observers = Observers.for_settings("Pool", resolve(URI, options, environ={}), ConnectionEvents(), "pymongo")
    assert [type(each).__name__ for each in observers.listeners()] == listeners


def test_only_motor_tells_of_submissions() -> None:
    settings = resolve(URI, {"slow_checkout_ms": 100}, environ={})
    events = TaskConnectionEvents()
    assert Observers.for_settings("Pool", settings, ConnectionEvents(), "motor").on_submit is not None
    assert Observers.for_settings("Pool", settings, events, "pymongo").on_submit is None
    plain = resolve(URI, {}, environ={})
    assert Observers.for_settings("Pool", plain, ConnectionEvents(), "motor").on_submit is None


@pytest.mark.parametrize("call", [None, len, 5, object()])
def test_a_submission_of_another_kind_is_left_alone(call: Any) -> None:
    settings = resolve(URI, {"slow_checkout_ms": 100}, environ={})
    on_submit = Observers.for_settings("Pool", settings, ConnectionEvents(), "motor").on_submit
    assert on_submit is not None
    on_submit(call)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("db.example", 27018), "db.example:27018"),
        (("10.0.0.1", 1), "10.0.0.1:1"),
        (("::1", 27017), "[::1]:27017"),
        (("/run/mongodb-27017.sock", None), "/run/mongodb-27017.sock"),
    ],
)
def test_an_address_is_written_as_people_write_it(address: Any, text: str) -> None:
    assert address_text(address) == text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*opened before fork.*:UserWarning")
def test_in_a_child_process_the_parents_observers_are_silent_and_wait_for_nothing(mongodb_uri: str) -> None:
    observed = Observed(
        "sync",
        mongodb_uri,
        slow_checkout_ms=0.001,
        slow_command_ms=0.001,
        command_stats=True,
        heartbeat_stats=True,
    )
    observed.client.admin.command("ping")
    commands = observed.observers._commands
    assert commands is not None
    with commands._lock:  # as another thread may hold it at a fork
        child = os.fork()
        if child == 0:
            _exit_with(lambda: _child_works(observed))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    observed.client.close()
    observed._workers.shutdown()
    observed.observers.stop()


def _child_works(observed: Observed) -> bool:
    zero = observed.observers.commands() == {} and observed.observers.heartbeats() == {}
    worker = threading.Thread(target=lambda: observed.client.admin.command("ping"), daemon=True)
    worker.start()
    worker.join(10)
    silent = not any(each.name == f"{observed.name}-log" for each in threading.enumerate())
    return zero and silent and not worker.is_alive() and observed.observers.commands()["ping"].count == 1


def _exit_with(check: Callable[[], bool]) -> None:
    code = 2
    try:
        code = 0 if check() else 1
    finally:
        os._exit(code)
