"""Which pools an exporter watches, what each is called, and what it is doing."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeAlias

from async_mongo_pool.async_pool import AsyncMongoDBConnectionPool
from async_mongo_pool.forks import StartsAfresh
from async_mongo_pool.pool_base import PoolBase
from async_mongo_pool.sync_pool import MongoDBConnectionPool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from async_mongo_pool.stats import PoolSnapshot

__all__ = ["Pool", "Selection", "open_snapshots"]

logger = logging.getLogger("async_mongo_pool")

Pool: TypeAlias = type[Any]
"""A pool: the class itself."""

_labels: weakref.WeakKeyDictionary[Pool, str] = weakref.WeakKeyDictionary()
_complained: weakref.WeakSet[Pool] = weakref.WeakSet()


class _Guard(StartsAfresh):
    """The lock over the labels; a child process gets a new one, for nobody there would free the old."""

    def __init__(self) -> None:
        super().__init__()
        self._after_fork_in_child()

    def _after_fork_in_child(self) -> None:
        self.lock = threading.Lock()


_guard = _Guard()


class Selection:
    """The pools that somebody asked to be watched: some, or all that there are and will be."""

    def __init__(self) -> None:
        self._everything = False
        self._chosen: weakref.WeakSet[Pool] = weakref.WeakSet()

    def add(self, pools: Iterable[Pool]) -> None:
        """Watch these too; none given stands for all pools of the process.

        Args:
            pools: Pools of either twin, as the class or its instance.

        Raises:
            TypeError: Something among them is not a pool.
        """
        chosen = [_checked(pool) for pool in pools]
        self._everything = self._everything or not chosen
        # A new set, because another thread may be looking through the old one.
        self._chosen = weakref.WeakSet([*self._chosen, *chosen])

    def pools(self) -> list[Pool]:
        """Those that exist now."""
        if not self._everything:
            return list(self._chosen)
        return [*AsyncMongoDBConnectionPool.all_pools(), *MongoDBConnectionPool.all_pools()]


def open_snapshots(pools: Iterable[Pool]) -> list[tuple[str, PoolSnapshot]]:
    """What the open ones among these pools are doing, oldest client first, each with its unique label.

    Never raises: a pool whose snapshot cannot be taken is left out, and the log says so once.
    """
    found = []
    for pool in dict.fromkeys(pools):
        try:
            snapshot: PoolSnapshot = pool.snapshot()
        except Exception:
            _complain(pool)
            continue
        if snapshot.status == "open":
            found.append((pool, snapshot))
    found.sort(key=lambda each: each[1].opened_at)
    return [(_label(pool, snapshot.pool), snapshot) for pool, snapshot in found]


def _checked(pool: Any) -> Pool:
    pool = type(pool) if isinstance(pool, PoolBase) else pool
    if not (isinstance(pool, type) and issubclass(pool, PoolBase)):
        raise TypeError(f"not a pool: {pool!r}")
    return pool


def _label(pool: Pool, name: str) -> str:
    """The pool's name, or with a number where another pool had it first; a pool keeps what it got."""
    with _guard.lock:
        known = _labels.get(pool)
        if known is None:
            taken = set(_labels.values())
            numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
            known = _labels[pool] = next(each for each in (name, *numbered) if each not in taken)
        return known


def _complain(pool: Pool) -> None:
    if pool not in _complained:
        _complained.add(pool)
        logger.warning("%s is missing in the metrics: its snapshot failed", pool.__name__, exc_info=True)
