"""Twenty writers of one contestant, and what they saw."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pymongo.errors import PyMongoError

from .contestants import inserting, inserting_async

if TYPE_CHECKING:
    from .contestants import Contestant

__all__ = ["Account", "Writers"]

OPENING_LIMIT = 30.0
CLOSING_LIMIT = 30.0


@dataclass
class Account:
    """What one writer saw, or several together.

    Attributes:
        acknowledged: The moment of each acknowledgement (monotonic seconds), and the document's `_id`.
        failed: How many writes ended with which class of error. Those may have been carried out or not.
        slowest: Seconds that the longest write took, whatever came of it.
    """

    acknowledged: list[tuple[float, str]] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    def succeeded(self, began: float, name: str) -> None:
        now = time.monotonic()
        self.acknowledged.append((now, name))
        self.slowest = max(self.slowest, now - began)

    def failed_with(self, began: float, error: PyMongoError) -> None:
        self.failed[type(error).__name__] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)


class Writers:
    """One contestant's writers, in a thread with an event loop of its own, or in a thread each.

    A failed write is not repeated by the writer: it goes on with its next number.

    Args:
        contestant: Which driver, and how.
        uri: The replica set.
        collection: Where they write; nobody else may.
        number: How many writers. Default 20.
        pause: Seconds that each rests between two writes, so that they wait for the database and not for the
            processor. Default 0.05.
        patience: Seconds after `stop` until a write that has not returned counts as one that never does.
            Default 60.
    """

    def __init__(
        self,
        contestant: Contestant,
        uri: str,
        collection: str,
        *,
        number: int = 20,
        pause: float = 0.05,
        patience: float = 60.0,
    ) -> None:
        self.contestant = contestant
        self.collection = collection
        self.hanging = self.clears = 0
        self.accounts = [Account() for _ in range(number)]
        self._uri = uri
        self._pause = pause
        self._patience = patience
        self._ready = threading.Event()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name=f"writers {contestant}", daemon=True)

    def start(self) -> None:
        """Connect and begin to write; returns when they do."""
        self._thread.start()
        assert self._ready.wait(OPENING_LIMIT), f"{self.contestant} could not connect"
        self._tell()

    def stop(self) -> None:
        """Let each finish its write, and close the client.

        Then `hanging` says how many did not finish, and `clears` how often the driver had cleared its pools.
        """
        self._over.set()
        self._thread.join(self._patience + CLOSING_LIMIT)
        if self._thread.is_alive():
            raise AssertionError(f"{self.contestant} did not close")
        self._tell()

    @property
    def latest(self) -> float:
        """The moment of the latest acknowledgement; 0 where there is none."""
        return max((each.acknowledged[-1][0] for each in self.accounts if each.acknowledged), default=0.0)

    @property
    def account(self) -> Account:
        """All together, in the order of time."""
        together = Account(slowest=max(each.slowest for each in self.accounts))
        for each in self.accounts:
            together.acknowledged.extend(each.acknowledged)
            together.failed.update(each.failed)
        together.acknowledged.sort()
        return together

    def _tell(self) -> None:
        if self._error is not None:
            raise AssertionError(f"{self.contestant}: {self._error!r}") from self._error

    def _main(self) -> None:
        try:
            if self.contestant.backend == "sync":
                self._run_threads()
            else:
                asyncio.run(self._run_tasks())
        except BaseException as error:  # raised again in the thread that waits
            self._error = error
        finally:
            self._ready.set()

    async def _run_tasks(self) -> None:
        async with inserting_async(self.contestant, self._uri, self.collection) as access:

            async def write(writer: int, account: Account) -> None:
                number = 0
                while not self._over.is_set():
                    name, began = f"{writer}-{number}", time.monotonic()
                    try:
                        await access.insert(name)
                        account.succeeded(began, name)
                    except PyMongoError as error:
                        account.failed_with(began, error)
                    number += 1
                    await asyncio.sleep(self._pause)

            tasks = [asyncio.create_task(write(*each)) for each in enumerate(self.accounts)]
            self._ready.set()
            while not self._over.is_set():  # noqa: ASYNC110 - it is set by another thread
                await asyncio.sleep(self._pause)
            ended, late = await asyncio.wait(tasks, timeout=self._patience)
            self.hanging, self.clears = len(late), access.clears()
            for task in late:
                task.cancel()
            await asyncio.gather(*ended)

    def _run_threads(self) -> None:
        with inserting(self.contestant, self._uri, self.collection) as access:

            def write(writer: int, account: Account) -> None:
                number = 0
                while not self._over.is_set():
                    name, began = f"{writer}-{number}", time.monotonic()
                    try:
                        access.insert(name)
                        account.succeeded(began, name)
                    except PyMongoError as error:
                        account.failed_with(began, error)
                    number += 1
                    self._over.wait(self._pause)

            threads = [
                threading.Thread(target=write, args=each, name="writer", daemon=True)
                for each in enumerate(self.accounts)
            ]
            for thread in threads:
                thread.start()
            self._ready.set()
            self._over.wait()
            deadline = time.monotonic() + self._patience
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            self.hanging, self.clears = sum(thread.is_alive() for thread in threads), access.clears()
