"""Ends a driver's search for a server in time.

While no server can be used, the driver looks at its clock every half a second only
(``pymongo.common.MIN_HEARTBEAT_INTERVAL``), so a deadline of 1 s may take 1.5 s. Waking it is enough: it looks,
and raises its own error. Private attributes of PyMongo are read here, each guarded; without them the driver is
only late, as before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from async_mongo_pool.backends.handle import ClientHandle
    from async_mongo_pool.lifecycle import Lifecycle

__all__ = ["wake_client", "wake_searches"]

_waking: set[asyncio.Task[None]] = set()
"""The loop itself keeps only weak references to its tasks."""


def wake_searches(lifecycle: Lifecycle) -> None:
    """Let every operation of a pool that waits for a server look at the clock; any thread may call it.

    Args:
        lifecycle: The pool's; nothing happens when it is not open.
    """
    if (handle := lifecycle.handle()) is not None:
        wake_client(handle)


def wake_client(handle: ClientHandle) -> None:
    """The same for one client, which need not be open yet.

    Args:
        handle: The client's.
    """
    condition = getattr(getattr(handle.driver_client, "_topology", None), "_condition", None)
    if condition is None:
        return
    if handle.loop is None:
        with condition:
            condition.notify_all()
    else:
        handle.loop.call_soon_threadsafe(_wake_here, condition)


def _wake_here(condition: Any) -> None:
    task = asyncio.ensure_future(_notify(condition))
    _waking.add(task)
    task.add_done_callback(_waking.discard)


async def _notify(condition: Any) -> None:
    async with condition:
        condition.notify_all()
