"""The demo: a server, a pool, a load on it, the same load on other ways of using a client, and a clean end."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pymongo.errors import OperationFailure, PyMongoError

from async_mongo_pool._version import __version__
from async_mongo_pool.async_pool import AsyncMongoDBConnectionPool
from async_mongo_pool.cli import load
from async_mongo_pool.cli.interrupt import EXIT_CODE, cancel_on_interrupt
from async_mongo_pool.cli.own_server import own_server
from async_mongo_pool.cli.screen import HEADING, Screen, figures_line, milliseconds
from async_mongo_pool.config import mask_uri
from async_mongo_pool.testing import ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from async_mongo_pool.async_pool import Backend

__all__ = ["Plan", "run", "sentence"]

_WARM_UP = 0.2
_ROUNDS = 2
_SHOWN_OPTIONS = ("maxPoolSize", "minPoolSize", "waitQueueTimeoutMS", "serverSelectionTimeoutMS", "appName")


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for on the command line.

    Attributes:
        uri: An existing server; None for one of our own. It may hold a password.
        backend: "motor" or "pymongo".
        tasks: How many tasks run operations at once.
        seconds: How long the load on the pool runs.
        latency: Milliseconds by which our own server delays each operation.
    """

    uri: str | None = field(repr=False)
    backend: Backend
    tasks: int
    seconds: float
    latency: int

    @property
    def round_seconds(self) -> float:
        """How long one round of the comparison lasts."""
        return max(self.seconds / 5, 0.2)


def run(plan: Plan) -> int:
    """Run the demo and return the exit code: 0, 1 after an error, 130 after Ctrl-C."""
    screen = Screen()
    logging.getLogger("async_mongo_pool").addHandler(_Notes(screen))
    # The driver logs, with tracebacks, what is counted here or told in a sentence.
    logging.getLogger("pymongo").addHandler(logging.NullHandler())
    try:
        asyncio.run(_demonstrate(plan, screen))
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.complain("interrupted; everything is closed.")
        return EXIT_CODE
    except (PyMongoError, ServerError, OSError) as error:
        screen.complain(sentence(error))
        return 1
    return 0


def sentence(error: Exception) -> str:
    """What went wrong, without the driver's inventory of its state and without a server's log."""
    text = str(error).split(". The tail of its log")[0]
    text = re.sub(r" \(configured timeouts[^)]*\)|, Timeout: .*>|, full error: \{.*\}", "", text, flags=re.DOTALL)
    return " ".join(text.split()) or type(error).__name__


class _Notes(logging.Handler):
    """Shows the library's warnings as lines of the demo."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.fact("Note", record.getMessage())


async def _demonstrate(plan: Plan, screen: Screen) -> None:
    cancel_on_interrupt(screen.restore)
    screen.title(f"async_mongo_pool {__version__}: {plan.tasks} tasks share one client ({plan.backend})")
    name = f"async_mongo_pool_demo_{uuid4().hex[:12]}"
    async with _server(plan, screen) as uri:
        target = load.Target(uri, name, plan.backend)
        async with _control(target, plan, screen) as control:
            await _show_the_pool(target, plan, control, screen)
            await _compare(target, plan, control, screen)


@asynccontextmanager
async def _server(plan: Plan, screen: Screen) -> AsyncIterator[str]:
    """The address of the server: the one that was named, or one of our own for as long as the block takes."""
    if plan.uri is not None:
        yield plan.uri
        return
    async with own_server(screen.progress("Starting a MongoDB")) as uri:
        yield uri


@asynccontextmanager
async def _control(target: load.Target, plan: Plan, screen: Screen) -> AsyncIterator[Any]:
    """A client beside the load: it fills the demo's database, asks the server, and removes the database."""
    pool = AsyncMongoDBConnectionPool.named("The demo")
    own = plan.uri is None
    try:
        async with screen.progress("Connecting"):
            client: Any = await pool.initialize(target.uri, backend=target.backend, maxPoolSize=2, minPoolSize=0)
        version = (await client.server_info())["version"]
        screen.fact(
            "Server", f"MongoDB {version} at {mask_uri(target.uri)}{', started for this demo' if own else ''}"
        )
        try:
            await load.seed(client[target.database].items)
            await _delay(client, plan, screen)
            yield client
        finally:
            if not own:
                with suppress(PyMongoError, TimeoutError):
                    await asyncio.wait_for(_drop(client, target.database), 0.7)
    finally:
        await pool.close(drain=0, timeout=0.5)


async def _drop(client: Any, database: str) -> None:
    await client.drop_database(database)


async def _delay(client: Any, plan: Plan, screen: Screen) -> None:
    """Let our own server wait before each operation, as a network would, and say so."""
    if plan.uri is not None:
        screen.fact("Simulated", "nothing: the operations take what this server takes.")
        return
    if plan.latency:
        delayed = {"failCommands": list(load.COMMANDS), "blockConnection": True, "blockTimeMS": plan.latency}
        await client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=delayed)
        screen.fact(
            "Simulated",
            f"a network: the server, on this machine, waits {plan.latency} ms before each operation. "
            "The figures depend on it: try --latency 0 and --latency 20.",
        )
    else:
        screen.fact("Simulated", "nothing: the server is on this machine and answers at once.")


async def _show_the_pool(target: load.Target, plan: Plan, control: Any, screen: Screen) -> None:
    pool = AsyncMongoDBConnectionPool.named("demo")
    began = time.perf_counter()
    client = await pool.initialize(target.uri, backend=target.backend, appName=target.database)
    opened = time.perf_counter() - began
    try:
        settings = {row.name: row for row in pool.explain()}
        screen.fact("Pool", f"opened in {milliseconds(opened)}; {plan.tasks} tasks: {load.MIX}.")
        await _serve(load.one_client(client, target, pool), plan, screen)
        began = time.perf_counter()
        await client.admin.command("ping")
        ping = time.perf_counter() - began
        stats = await pool.get_pool_stats()
        screen.fact("Health", f"status {stats['status']}, a ping took {milliseconds(ping)} after the load.")
        told = ("backend", "server_version", "saturated", "replacements")
        screen.fact("Statistics", ", ".join(f"{name} {stats[name]}" for name in told if name in stats) + ".")
        shown = [settings[name] for name in _SHOWN_OPTIONS if name in settings]
        options = ", ".join(f"{row.name} {row.value} ({row.source})" for row in shown)
        screen.fact("Options", f"{options}; {len(settings) - len(shown)} more from explain().")
    finally:
        began = time.perf_counter()
        await pool.close(drain=0.2, timeout=0.5)
    closed = time.perf_counter() - began
    left = await _connections_left(control, target.database)
    screen.fact(
        "Closed",
        f"in {milliseconds(closed)}"
        + (f"; the server sees {left} of its connections." if left is not None else "."),
    )


async def _serve(serving: load.Serving, plan: Plan, screen: Screen) -> None:
    figures = load.Figures()
    most = 0

    def line() -> str:
        nonlocal most
        in_use = serving.in_use()
        most = max(most, in_use or 0)
        return figures_line(figures, "" if in_use is None else f"{in_use:,}")

    async with screen.progress("Serving", plan.seconds, line):
        await load.run_load(serving, plan.tasks, plan.seconds, figures)
    if screen.moving:
        screen.line(HEADING)
    screen.line(figures_line(figures, f"at most {most:,}", recent=False))
    _tell_errors("pool:", figures, screen)


async def _compare(target: load.Target, plan: Plan, control: Any, screen: Screen) -> None:
    contenders = load.contenders(target.backend)
    screen.line()
    for number in range(_ROUNDS):
        # The second round in opposite order: whatever favours the first or the last favours both once.
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            title = f"Comparing, round {number + 1} of {_ROUNDS}: {contender.name}"
            async with screen.progress(title, plan.round_seconds + _WARM_UP):
                await _round(contender, target, plan, control)
    screen.line()
    screen.comparison(contenders)
    screen.line()
    for contender in contenders:
        _tell_errors(f"{contender.name}:", contender.figures, screen)
    screen.fact(
        "Measured",
        f"here and now: the same operations from {plan.tasks} tasks, {_ROUNDS} rounds of {plan.round_seconds:g} s "
        "each in opposite order, each warmed up; latencies as a task sees them, waiting included. Connections are "
        "those the server accepted, warm-up and monitoring included. Clients have their own defaults.",
    )


def _tell_errors(whose: str, figures: load.Figures, screen: Screen) -> None:
    if figures.errors:
        counted = ", ".join(f"{count:,} {name}" for name, count in figures.errors.most_common())
        screen.fact("Errors", f"{whose} {counted}.")


async def _round(contender: load.Contender, target: load.Target, plan: Plan, control: Any) -> None:
    figures = contender.figures
    before = await _accepted(control)
    async with contender.opened(target) as serving:
        await load.run_load(serving, plan.tasks, _WARM_UP, load.Figures())
        await load.run_load(serving, plan.tasks, plan.round_seconds, figures)
    after = await _accepted(control)
    told = figures.connections is not None and before is not None and after is not None
    figures.connections = (figures.connections or 0) + (after or 0) - (before or 0) if told else None


async def _accepted(control: Any) -> int | None:
    """The connections that the server has accepted so far; None without the right to ask."""
    try:
        return int((await control.admin.command("serverStatus"))["connections"]["totalCreated"])
    except OperationFailure:
        return None


async def _connections_left(control: Any, application: str) -> int | None:
    """The connections of an application that the server still sees; None without the right to ask."""
    view = {"$currentOp": {"allUsers": True, "idleConnections": True}}
    pipeline = [view, {"$match": {"appName": application}}]
    deadline = time.monotonic() + 1
    try:
        while True:
            answer = await control.admin.command("aggregate", 1, pipeline=pipeline, cursor={})
            left = len(answer["cursor"]["firstBatch"])
            if not left or time.monotonic() > deadline:
                return left
            await asyncio.sleep(0.02)
    except OperationFailure:
        return None
