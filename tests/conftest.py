"""The watch over every test: what it starts, it ends."""

from __future__ import annotations

import asyncio
import gc
import inspect
import math
import threading
import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import pytest_asyncio
from pymongo.periodic_executor import PeriodicExecutor

from async_mongo_pool.retry.alarm import Alarm
from async_mongo_pool.testing import waiting
from tests import timing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytest_plugins = ["pytester"]
# In a checkout that is not installed; pytest refuses the same plugin under two names.
if not any(entry.name == "async_mongo_pool" for entry in entry_points(group="pytest11")):
    pytest_plugins.append("async_mongo_pool.testing.plugin")

SETTLING_LIMIT = 3.0
# Threads that may stay: idle, and kept for the next who needs one.
IDLE_THREADS = (
    "asyncio_",  # the event loop's default executor
    "pytest_timeout",
)
# Helpers of multiprocessing, one for the whole process from its first use on.
IDLE_PROCESSES = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")

_owed: dict[object, tuple[float, str]] = {}
"""The sockets of threads that are about to end: until when they may stay, and what to say if they stay longer."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaves(reason): threads, tasks, processes or sockets stay on purpose")


PATIENCE = 3
"""A wait of a test is a bound and no measurement: on a busy machine patience costs only those that fail anyway."""


@pytest.fixture(scope="session", autouse=True)
def stalls_are_measured() -> Iterator[None]:
    """See `tests.timing`."""
    with timing.measuring_stalls():
        yield


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """`wait_until(condition, timeout=5.0, message=...)`: wait, bounded, in a synchronous test."""

    def wait(condition: Callable[[], object], timeout: float = 5.0, message: Any = "the condition") -> None:
        waiting.wait_until(condition, PATIENCE * timeout, message)

    return wait


@pytest.fixture
def wait_until_async() -> Callable[..., Any]:
    """`await wait_until_async(condition, timeout=5.0, message=...)`: the same in an asynchronous test."""

    async def wait(condition: Callable[[], object], timeout: float = 5.0, message: Any = "the condition") -> None:
        await waiting.wait_until_async(condition, PATIENCE * timeout, message)

    return wait


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a task, a child process or a socket.

    Fixtures of a wider scope, the session's servers among them, are set up before: theirs is not new.
    """
    marker = request.node.get_closest_marker("leaves")
    if marker is not None:
        if not marker.kwargs.get("reason"):
            pytest.fail("the marker `leaves` needs a reason", pytrace=False)
        yield
        return
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue(f"no_task_left_in_{_loop_scope(request.node)}_loop")
    before = _everything()
    yield
    new = _new(before)
    if new and all(_is_socket(key) for key in new) and any(map(_is_ending, threading.enumerate())):
        # Those of threads that are about to end: the next tests need not wait for that.
        until = time.monotonic() + PATIENCE * SETTLING_LIMIT
        _owed.update({key: (until, f"{text}, since {request.node.nodeid}") for key, text in new.items()})
    else:
        _await_absence(lambda: list(_new(before).values()))
    if overdue := _overdue(time.monotonic()):
        _owed.clear()
        pytest.fail(_complaint(overdue), pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def nothing_owed() -> Iterator[None]:
    """Fail the last test for what others have left to the end of their threads, and which is still there."""
    yield
    _await_absence(lambda: _overdue(math.inf))


def _loop_scope(item: pytest.Item) -> str:
    marker = item.get_closest_marker("asyncio")
    chosen = marker.kwargs.get("loop_scope") if marker is not None else None
    return chosen or item.config.getini("asyncio_default_test_loop_scope") or "function"


def _no_task_left(loop_scope: Any) -> Any:
    # A function of its own for each scope: pytest-asyncio writes the scope on the function.
    @pytest_asyncio.fixture(loop_scope=loop_scope)
    async def no_task_left() -> AsyncIterator[None]:
        # In the test's own loop, and set up first: at its end all other fixtures have cleaned up, and the loop's
        # closing has not yet cancelled what was forgotten.
        before = asyncio.all_tasks()
        yield
        mine = asyncio.current_task()

        def left() -> list[str]:
            return [repr(task) for task in asyncio.all_tasks() - before if task is not mine]

        try:
            await waiting.wait_until_async(lambda: not left(), SETTLING_LIMIT)
        except TimeoutError:
            pytest.fail(_complaint(left()), pytrace=False)

    return no_task_left


no_task_left_in_function_loop = _no_task_left("function")
no_task_left_in_class_loop = _no_task_left("class")
no_task_left_in_module_loop = _no_task_left("module")
no_task_left_in_session_loop = _no_task_left("session")


def _await_absence(left: Callable[[], list[str]]) -> None:
    if left():
        # AsyncMongoClient leaves a socket to the garbage collector when it is closed while it connects.
        gc.collect()
    try:
        waiting.wait_until(lambda: not left(), SETTLING_LIMIT)
    except TimeoutError:
        pytest.fail(_complaint(left()), pytrace=False)


def _complaint(left: list[str]) -> str:
    return f"{SETTLING_LIMIT:g} s after its end the test has left:\n" + "\n".join(left)


def _new(before: dict[object, str]) -> dict[object, str]:
    return {key: description for key, description in _everything().items() if key not in before}


def _overdue(now: float) -> list[str]:
    """What was owed until an earlier moment, and is still there; what is gone is forgotten."""
    if not _owed:
        return []
    _forget_those_that_are_gone()
    if any(until < now for until, _ in _owed.values()):
        # As for a test's own: some sockets are the garbage collector's.
        gc.collect()
        _forget_those_that_are_gone()
    return [text for until, text in _owed.values() if until < now]


def _forget_those_that_are_gone() -> None:
    there = _sockets()
    for key in [key for key in _owed if key not in there]:
        del _owed[key]


def _everything() -> dict[object, str]:
    """All threads, child processes and network sockets of this process, each with a description."""
    return _threads() | _children() | _sockets()


def _threads() -> dict[object, str]:
    # The objects and not their idents, which are reused.
    return {
        thread: f"thread {thread.name}"
        for thread in threading.enumerate()
        if not (thread.name.startswith(IDLE_THREADS) or _is_ending(thread))
    }


def _is_ending(thread: threading.Thread) -> bool:
    """Whether it was told to end, and will see that by itself: the driver's threads look each half a second."""
    owner = getattr(getattr(thread, "_target", None), "__self__", None)
    if isinstance(owner, PeriodicExecutor):
        return owner._stopped
    # It ends when it finds nothing to watch over, and until then serves whoever comes.
    return isinstance(owner, Alarm) and not owner._limits


def _children() -> dict[object, str]:
    found: dict[object, str] = {}
    for child in psutil.Process().children():
        try:
            command = " ".join(child.cmdline())
        except psutil.NoSuchProcess:
            continue
        except psutil.ZombieProcess:
            command = "a zombie"
        if not any(idle in command for idle in IDLE_PROCESSES):
            found[child] = f"process {child.pid}: {command}"
    return found


def _sockets() -> dict[object, str]:
    return {
        ("socket", connection.fd, connection.laddr, connection.raddr): f"socket {connection}"
        for connection in psutil.Process().net_connections("inet")
    }


def _is_socket(key: object) -> bool:
    return isinstance(key, tuple) and key[0] == "socket"
