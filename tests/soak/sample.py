"""What a process holds at one moment: its memory, threads, tasks, descriptors and objects."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import re
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

import psutil

from .slopes import Limit

__all__ = ["LIMITS", "census", "measure"]

# Numbers of things are the same at each rest, but for a connection (and a thread or task, and a descriptor) of a
# monitor that is being made anew: no slope is allowed, and one step of that size.
#
# Memory is what this process alone holds (USS), after what malloc had free was given back. Python takes it in
# arenas of 1 MiB and returns one only when no object is left in it, so that it moves in steps although nothing is
# held: two of them are allowed. Smaller leaks show in what has no noise of an allocator in it: what of malloc's
# is in use ("heap"), the small blocks that Python has allocated, and the objects that its collector tracks. What
# these may grow by is what they vary by: three objects left per fault, or one in two hundred operations, are
# beyond it in half an hour.
LIMITS = (
    Limit("memory", "MiB", step=2.0, per_hour=8.0),
    Limit("heap", "MiB", step=0.25, per_hour=1.0),
    Limit("blocks", "", step=700, per_hour=2500),
    Limit("objects", "", step=150, per_hour=500),
    Limit("threads", "", step=1),
    Limit("tasks", "", step=1),
    Limit("descriptors", "", step=1),
    Limit("sockets", "", step=1),
    Limit("server connections", "", step=1),
)


def measure() -> dict[str, float]:
    """All of `LIMITS` that a process knows of itself, and its resident memory ("rss", MiB)."""
    # The second round frees what finalizers of the first one let go.
    gc.collect()
    gc.collect()
    _malloc.give_back()
    process = psutil.Process()
    memory = process.memory_full_info()
    return {
        "memory": memory.uss / 2**20,
        "rss": memory.rss / 2**20,
        "heap": _malloc.in_use() / 2**20,
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "threads": threading.active_count(),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": process.num_fds(),
        "sockets": len(process.net_connections("inet")),
    }


def census() -> dict[str, int]:
    """How many objects of each class the collector tracks, and threads by name: to tell what has grown."""
    gc.collect()
    kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    kinds.update(f"thread {re.sub('[0-9]+', 'N', each.name)}" for each in threading.enumerate())
    return dict(kinds)


class _MallocInfo(ctypes.Structure):
    """``struct mallinfo2``."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


class _Malloc:
    """What glibc tells of its heap; other C libraries tell nothing."""

    def __init__(self) -> None:
        self._trim: Any = None
        self._info: Any = None
        with suppress(OSError, AttributeError, TypeError):
            library = ctypes.CDLL(None)
            self._trim, self._info = library.malloc_trim, library.mallinfo2
            self._info.restype = _MallocInfo

    def give_back(self) -> None:
        """Return to the system what was freed: glibc keeps it, which looks like a leak from outside."""
        if self._trim is not None:
            self._trim(0)

    def in_use(self) -> int:
        """Bytes that were asked for and not freed; Python's own small objects are elsewhere ("blocks")."""
        if self._info is None:
            return 0
        info = self._info()
        return int(info.uordblks + info.hblkhd)


_malloc = _Malloc()
