"""Who holds the connections of a client now."""

from __future__ import annotations

import threading
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any

from async_mongo_pool.stats import Holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .checkout import Checkout

__all__ = ["describe_holders"]


def describe_holders(
    holdings: Iterable[tuple[str, int, float, Any]],
    checkouts: Mapping[tuple[str, int], Checkout] | None = None,
) -> list[Holder]:
    """Name the holders, the one that has held longest first.

    Args:
        holdings: What ``ConnectionEvents.holdings`` returns.
        checkouts: What ``SlowCheckouts.current`` returns, for the submitting task of Motor, the last command and
            the stack. Default: nothing more is known.
    """
    now = monotonic()
    known = checkouts or {}
    threads = {thread.ident: thread.name for thread in threading.enumerate()}
    oldest_first = sorted(holdings, key=lambda each: each[2])
    return [
        _holder(
            address, connection_id, max(now - since, 0.0), _name(key, threads), known.get((address, connection_id))
        )
        for address, connection_id, since, key in oldest_first
    ]


def _holder(address: str, connection_id: int, seconds: float, name: str, checkout: Checkout | None) -> Holder:
    if checkout is None:
        return Holder(server=address, connection_id=connection_id, name=name, seconds=seconds)
    origin = checkout.origin
    return Holder(
        server=address,
        connection_id=connection_id,
        name=f"{origin.name}, a {origin.kind} that has ended" if origin.has_ended() else origin.name,
        seconds=seconds,
        command=checkout.command,
        stack=origin.stack(),
    )


def _name(key: Any, threads: Mapping[int | None, str]) -> str:
    if not isinstance(key, weakref.ref):
        return threads.get(key, "a thread that has ended")
    task = key()
    if task is None:
        return "a task that has ended"
    return f"{task.get_name()}, a task that has ended" if task.done() else str(task.get_name())
