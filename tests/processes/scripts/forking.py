"""Fork an application in one of several situations; parent and child report what they saw."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from async_mongo_pool.testing import waiting

from .common import BOUND, Service, fork_quietly, in_child, say

if TYPE_CHECKING:
    from collections.abc import Callable

Report = dict[str, Any]


async def life_of_a_child(service: Service, *arguments: Any) -> Report:
    """What a worker does after the fork: look, open, use, close; with what the server saw of it."""
    service.forget_loop()
    parents = service.connections()
    inherited = [handle.client for handle in _inherited_handles()]
    closings = [handle._finished for handle in _inherited_handles()]
    report: Report = {
        "client_before": service.pool.get_client(),
        "stats_before": await service.stats(),
        "repr_before": repr(service.pool()),
    }
    client = await service.initialize(*arguments, **(service.options if arguments else {}))
    await service.use(client)
    stats = await service.stats()
    report |= {
        "status": stats["status"],
        "replacements": stats["replacements"],
        "is_inherited": any(client is other for other in inherited),
        "own_connections": len(service.connections() - parents),
        "parents_connections_lost": len(parents - service.connections()),
    }
    await service.close()
    # All that this process opened is gone: the inherited client has opened nothing here.
    waiting.wait_until(lambda: service.connections() <= parents, 5, "the child's connections to end")
    report["inherited_touched"] = closings != [handle._finished for handle in _inherited_handles()]
    return report


def _inherited_handles() -> list[Any]:
    from async_mongo_pool import processes

    return list(processes._inherited)


def fork(service: Service, *arguments: Any, meanwhile: Callable[[], None] = lambda: None) -> Report:
    report: Report = in_child(lambda: asyncio.run(life_of_a_child(service, *arguments)), meanwhile)
    return report


def parent_goes_on(service: Service, client: Any, before: set[int]) -> Report:
    """The parent's client works, is still the pool's, and the server has kept its connections."""
    service.run(lambda: service.use(client))
    return {
        "same_client": service.pool.get_client() is client,
        "lost": len(before - service.connections()),
        "status": service.run(service.stats)["status"],
    }


def before_use(service: Service) -> Report:
    return {"child": fork(service, service.uri)}


def after_configure(service: Service) -> Report:
    service.pool.configure(service.uri, **service.options)
    return {"child": fork(service)}


def after_initialize(service: Service) -> Report:
    """gunicorn --preload: the parent's ``asyncio.run`` is over when the workers are forked."""
    service.run(service.open)
    children = {"child": fork(service), "second_child": fork(service)}
    client = service.run(service.open)
    del client
    return children


def after_use(service: Service) -> Report:
    service.serve()
    client = service.run(service.open)
    service.run(lambda: service.use(client))
    before = service.connections()
    return {"child": fork(service), "parent": parent_goes_on(service, client, before)}


def outliving_the_parents_pool(service: Service) -> Report:
    """The parent closes while the child lives on: the child must hold none of its connections open."""
    service.serve()
    client = service.run(service.open)
    service.run(lambda: service.use(client))

    def close() -> None:
        service.run(service.close)
        waiting.wait_until(lambda: not service.connections(), 5, "the end of the parent's connections")

    return {"child": fork(service, meanwhile=close)}


def a_child_that_ends_by_itself(service: Service) -> Report:
    """Not with ``os._exit`` as most children do, but like any process, with all its clearing up."""
    service.serve()
    client = service.run(service.open)
    before = service.connections()
    child = fork_quietly()
    if child == 0:
        signal.alarm(int(BOUND))
        sys.exit(0)
    # The alarm bounds the wait.
    _, status = os.waitpid(child, 0)
    return {"exit_code": os.waitstatus_to_exitcode(status), "parent": parent_goes_on(service, client, before)}


def a_child_of_a_child(service: Service) -> Report:
    service.serve()
    client = service.run(service.open)
    before = service.connections()

    def be_child() -> Report:
        service.forget_loop()

        async def between() -> Report:
            await service.initialize()
            report = fork(service)
            await service.close()
            return report

        return asyncio.run(between())

    return {"child": in_child(be_child), "parent": parent_goes_on(service, client, before)}


def inside_a_coroutine(service: Service) -> Report:
    async def main() -> Report:
        client = await service.open()
        before = service.connections()
        child = fork(service)
        await service.use(client)
        lost = len(before - service.connections())
        parent = {"same_client": service.pool.get_client() is client, "lost": lost}
        return {"child": child, "parent": parent | {"status": (await service.stats())["status"]}}

    report: Report = asyncio.run(main())
    return report


def during_initialize(service: Service) -> Report:
    """Another thread is connecting and holds the lock."""
    asked, go_on = threading.Event(), threading.Event()

    def connection() -> str:
        asked.set()
        go_on.wait(BOUND)
        return service.uri

    service.serve()
    opened: list[Any] = []
    opening = threading.Thread(
        target=lambda: opened.append(
            service.run(lambda: service.initialize(connection, **service.options, timeout=BOUND))
        )
    )
    opening.start()
    asked.wait(BOUND)
    child = fork(service, service.uri)
    go_on.set()
    opening.join(BOUND)
    return {"child": child, "parent": parent_goes_on(service, opened[0], service.connections())}


def while_our_locks_are_held(service: Service) -> Report:
    service.serve()
    client = service.run(service.open)
    before = service.connections()
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        lifecycle = service.pool._lifecycle
        handle = lifecycle.handle()
        locks = [lifecycle.mutex, lifecycle.thread_lock, handle._finish_lock, handle.events._lock]
        if service.backend == "motor":
            locks.append(handle.admission._lock)
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            go_on.wait(BOUND)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(BOUND)
    child = fork(service)
    go_on.set()
    holder.join(BOUND)
    return {"child": child, "parent": parent_goes_on(service, client, before)}


def under_load(service: Service) -> Report:
    """Several children, one after another, while the parent is never idle."""
    service.serve()
    service.options |= {"minPoolSize": 4, "maxPoolSize": 4}
    client = service.run(service.open)
    # Four, and the monitor's two: what comes on top later is a child's.
    waiting.wait_until(lambda: len(service.connections()) == 6, 10, "the parent's connections")
    before = service.connections()
    stop = threading.Event()
    operations: list[int] = []
    errors: list[str] = []

    def load() -> None:
        while not stop.is_set():
            try:
                service.run(lambda: service.use(client))
                operations.append(1)
            except Exception as error:
                errors.append(repr(error))

    threads = [threading.Thread(target=load, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting.wait_until(lambda: len(operations) > 20)
    children = {f"child_{number}": fork(service) for number in range(5)}
    many = len(operations)
    waiting.wait_until(lambda: len(operations) > many + 20)
    stop.set()
    for thread in threads:
        thread.join(BOUND)
    return {**children, "parent": parent_goes_on(service, client, before) | {"errors": errors}}


def during_close(service: Service) -> Report:
    """The inherited client is on its way out: that is the parent's business alone."""
    service.serve()
    client = service.run(service.open)
    sleep = partial(client.admin.command, "sleep", millis=2000, lock="none")
    busy = threading.Thread(target=lambda: service.run(lambda: service.call(sleep)), daemon=True)
    busy.start()
    waiting.wait_until(lambda: service.pool._lifecycle.handle().in_use() == 1)
    closing = threading.Thread(target=lambda: service.run(service.close))
    closing.start()
    waiting.wait_until(lambda: service.pool.get_client() is None)
    child = fork(service, service.uri)
    closing.join(BOUND)
    busy.join(BOUND)
    return {"child": child}


SITUATIONS: tuple[Callable[[Service], Report], ...] = (
    before_use,
    after_configure,
    after_initialize,
    after_use,
    outliving_the_parents_pool,
    a_child_that_ends_by_itself,
    a_child_of_a_child,
    inside_a_coroutine,
    during_initialize,
    while_our_locks_are_held,
    under_load,
    during_close,
)


def main() -> None:
    situation, backend, uri = sys.argv[1:]
    service = Service(backend, uri)
    by_name = {known.__name__: known for known in SITUATIONS}
    report = by_name[situation](service)
    service.run(service.close)
    waiting.wait_until(lambda: not service.connections(), 5, "the end of all connections")
    service.stop()
    say(**report)


if __name__ == "__main__":
    main()
