"""A process whose resolver asks our name server; it prints what it saw as JSON.

The system's resolver asks port 53 of what /etc/resolv.conf names. So this process gets namespaces of its own, in
which an unprivileged user may bind that port and mount that file (Linux). dnspython, which the driver asks for SRV
records, is told directly.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import gc
import json
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from typing import Any

import dns.asyncresolver
import dns.resolver
from pymongo.errors import PyMongoError

from async_mongo_pool.testing.waiting import wait_until
from tests.bounds.name_server import NameServer
from tests.bounds.pace import Pace
from tests.bounds.scene import Scene

SRV = "mongodb+srv://"
BACKENDS = ("motor", "pymongo", "sync")
TICK = 0.01
MS_BIND = 4096
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def take_over_the_resolver() -> None:
    """Inside namespaces of our own: let loopback live, and /etc/resolv.conf name it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write("nameserver 127.0.0.1\noptions timeout:10 attempts:2\n")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(file.name.encode(), b"/etc/resolv.conf", None, MS_BIND, None) != 0:
        raise OSError(ctypes.get_errno(), "cannot mount a resolv.conf")
    os.unlink(file.name)


def point_dnspython_at(port: int) -> None:
    for module in (dns.resolver, dns.asyncresolver):
        resolver: Any = module.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = port
        vars(module)["default_resolver"] = resolver


def pretend(mode: str) -> None:
    """Where a process can have no resolver of its own: in the place of the system's, one that does the same."""

    def look_up(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name[0].isdigit():
            return getaddrinfo(name, *arguments, **keywords)
        if mode == "silent":
            time.sleep(20)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    getaddrinfo = socket.getaddrinfo
    vars(socket)["getaddrinfo"] = look_up


async def timed(pace: Pace, awaitable: Any) -> dict[str, Any]:
    """How long a call took, what it raised, and the longest time for which the loop did not turn.

    Without the time that the machine took for itself.
    """
    gaps = [0.0]

    async def tick() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(TICK)
            gaps.append(time.monotonic() - began - TICK)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    began = time.monotonic()
    error: PyMongoError | None = None
    try:
        await awaitable
    except PyMongoError as raised:
        error = raised
    ended = time.monotonic()
    ticking.cancel()
    await asyncio.sleep(3 * TICK)
    lost = pace.lost(began, ended)
    return {
        "seconds": ended - began - lost,
        "error": error and type(error).__name__,
        "text": str(error or ""),
        "gap": max(gaps) - lost,
    }


async def story(pace: Pace, backend: str, uri: str) -> dict[str, Any]:
    """What becomes of one backend's pool."""
    scene = Scene(backend, "closed", uri)

    def initialize(**options: Any) -> Any:
        return scene.call(scene.pool.initialize, uri, **scene.options, **options)

    report = {
        "initialize": await timed(pace, initialize(timeout=1.0)),
        "again": await timed(pace, initialize(timeout=0.3, retry_for=0.4)),
        "lookups": sum(thread.name == "async_mongo_pool-lookup" for thread in threading.enumerate()),
        "degraded": await timed(pace, initialize(timeout=0.5, on_failure="degraded")),
        "snapshot": scene.pool.snapshot().status,
        "ready": uri.startswith(SRV) and (await scene.call(scene.pool.readiness, timeout=0.3)).ready,
        "close": await timed(pace, scene.call(scene.pool.close, timeout=1.0)),
    }
    return {**report, "live": scene.pool.liveness().live}


async def stories(pace: Pace, uri: str) -> dict[str, Any]:
    """One of each backend, side by side."""
    # Imports and first threads are not what is measured.
    for backend in BACKENDS:
        scene = Scene(backend, "closed", uri)
        await timed(
            pace, scene.call(scene.pool.initialize, "mongodb://127.0.0.1:1/", timeout=0.1, **scene.options)
        )
    reports = await asyncio.gather(*(story(pace, backend, uri) for backend in BACKENDS))
    return dict(zip(BACKENDS, reports, strict=True))


def drivers_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "pymongo" in thread.name]


def hear_late(server: NameServer) -> None:
    """Let the questions of those who have given up be answered at last."""
    # What nobody closes would otherwise end when it is collected, some time.
    gc.disable()
    server.mode = "found"
    wait_until(lambda: server.answers > 0, 10)
    wait_until(
        lambda: not [thread for thread in threading.enumerate() if thread.name.endswith(("-start", "-probe"))], 15
    )


def main(kind: str, uri: str, mode: str) -> None:
    with ExitStack() as stack:
        if kind == "system":
            take_over_the_resolver()
        server = stack.enter_context(NameServer(53 if kind == "system" else 0))
        server.mode = mode
        point_dnspython_at(server.port)
        if kind == "pretended":
            pretend(mode)
        reports = asyncio.run(stories(stack.enter_context(Pace()), uri))
        ended = time.monotonic()
        if uri.startswith(SRV) and mode == "silent":
            hear_late(server)
            ended = time.monotonic()
        wait_until(lambda: not drivers_threads(), 5, message=str(drivers_threads()))
        sys.stdout.write(json.dumps({**reports, "ended": ended}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
