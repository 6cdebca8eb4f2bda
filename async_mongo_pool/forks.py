"""What a forked child makes anew: it neither waits for a lock of the parent nor counts on its threads."""

from __future__ import annotations

import os
import weakref

__all__ = ["StartsAfresh"]


class StartsAfresh:
    """An object with locks or threads, for the case that somebody goes on using an inherited client."""

    def __init__(self) -> None:
        _all.add(self)

    def _after_fork_in_child(self) -> None:
        """Make every lock, queue and count anew; nothing may be waited for."""
        raise NotImplementedError


_all: weakref.WeakSet[StartsAfresh] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for each in list(_all):
        each._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
