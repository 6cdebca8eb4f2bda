"""The one thing of a probe that touches the network: a ping with a deadline, detached from whoever asks."""

from __future__ import annotations

import asyncio
import time
from contextvars import Context
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError
from pymongo.read_preferences import PrimaryPreferred, ReadPreference

from async_mongo_pool.daemon import in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from async_mongo_pool.backends.handle import ClientHandle

    from .results import Require

__all__ = ["start_ping"]

_TARGETS: Mapping[Require, Any] = {"any": PrimaryPreferred(), "primary": ReadPreference.PRIMARY}
"""Not the client's own read preference: by default nobody could be pinged while there is no primary."""

_WORTH_A_SECOND = 0.01
"""Seconds that must be left for a second try."""


def start_ping(handle: ClientHandle, require: Require, timeout: float) -> Future[float]:
    """Begin to ping; returns at once.

    A connection that broke while it was idle fails the first ping that uses it, and the driver repeats no
    ``ping``: after a network error we do, once, in the time that is left.

    Args:
        handle: The client's; any thread or loop may ask.
        require: Which server.
        timeout: Seconds for everything.

    Returns:
        A future of the seconds that the answer took; cancelling those who wait for it does not cancel the ping.
    """
    # In a context of its own: a pymongo.timeout() around the first of many probers is not the others'.
    return Context().run(_start, handle, require, timeout)


def _start(handle: ClientHandle, require: Require, timeout: float) -> Future[float]:
    if handle.loop is None:
        return in_daemon_thread(f"{handle.pool}-probe", lambda: _ping_blocking(handle, require, timeout))
    pinging = _ping(handle, require, timeout)
    try:
        return asyncio.run_coroutine_threadsafe(pinging, handle.loop)
    except RuntimeError:
        pinging.close()
        raise


def _ping_blocking(handle: ClientHandle, require: Require, timeout: float) -> float:
    began = time.monotonic()
    try:
        return _once_blocking(handle, require, timeout)
    except AutoReconnect as error:
        left = _left_for_another(error, began + timeout)
        if left is None:
            raise
    return _once_blocking(handle, require, left)


def _once_blocking(handle: ClientHandle, require: Require, timeout: float) -> float:
    began = time.monotonic()
    with pymongo.timeout(timeout):
        handle.driver_client.admin.command("ping", read_preference=_TARGETS[require])
    return time.monotonic() - began


async def _ping(handle: ClientHandle, require: Require, timeout: float) -> float:
    began = time.monotonic()
    try:
        return await _once(handle, require, timeout)
    except AutoReconnect as error:
        left = _left_for_another(error, began + timeout)
        if left is None:
            raise
    return await _once(handle, require, left)


async def _once(handle: ClientHandle, require: Require, timeout: float) -> float:
    began = time.monotonic()
    with pymongo.timeout(timeout):
        await handle.driver_client.admin.command("ping", read_preference=_TARGETS[require])
    return time.monotonic() - began


def _left_for_another(error: AutoReconnect, deadline: float) -> float | None:
    """The seconds for a second try; None where it makes no sense: selecting a server has tried all the time."""
    left = deadline - time.monotonic()
    return None if isinstance(error, ServerSelectionTimeoutError) or left < _WORTH_A_SECOND else left
