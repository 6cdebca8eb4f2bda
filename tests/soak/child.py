"""The parent's end of a worker process: orders out, answers in, each awaited within a bound."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Child", "ChildError"]

_ROOT = Path(__file__).parents[2]
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
"""glibc gives threads heaps of their own, 16 of them on two cores, and malloc_trim() leaves the free end of each
as large as it ever was; it also keeps a cache for each thread that counts as in use. Together that is an hour of
growth that nobody holds. One heap without caches is given back whole, and a leak stays a leak."""
_START_LIMIT = 60.0
_END_LIMIT = 30.0


class ChildError(Exception):
    """A worker process ended or did not answer."""


class Child:
    """One backend's worker process.

    Args:
        backend: Which one.
        arguments: More of the worker's command line, by name.
    """

    def __init__(self, backend: str, **arguments: object) -> None:
        self.backend = backend
        given = [f"--{name.replace('_', '-')}={value}" for name, value in arguments.items()]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.worker", "--backend", backend, *given],
            cwd=_ROOT,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C goes to the terminal's process group: the parent tells its workers when it is over.
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name=f"answers of {backend}", daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Wait until its pool is open.

        Raises:
            ChildError: It is not.
        """
        self.answer("start", _START_LIMIT)

    def order(self, order: str) -> None:
        """Send an order, without waiting.

        Raises:
            ChildError: The process has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(order + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure(order) from error

    def answer(self, order: str, limit: float) -> dict[str, Any]:
        """The answer to the oldest order that has none yet.

        Args:
            order: For the error.
            limit: Seconds to wait.

        Raises:
            ChildError: There was none in that time, or the process has ended.
        """
        try:
            line = self._answers.get(timeout=limit)
        except queue.Empty:
            raise ChildError(f"{self.backend}: no answer to {order!r} within {limit:g} s") from None
        if not line:
            raise self._failure(order)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, order: str, limit: float) -> dict[str, Any]:
        """Send an order and wait for its answer."""
        self.order(order)
        return self.answer(order, limit)

    def end(self) -> int:
        """End the process, by force if it does not end by itself; its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # A process that has ended already, in the middle of an order, takes nothing more.
        with suppress(OSError):
            self._process.stdin.close()
        try:
            code = self._process.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join(_END_LIMIT)
        self._process.stdout.close()
        return code

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _failure(self, order: str) -> ChildError:
        try:
            code = self._process.wait(_END_LIMIT)
        except subprocess.TimeoutExpired:
            return ChildError(f"{self.backend}: its process takes no orders any more ({order!r})")
        return ChildError(f"{self.backend}: its process ended with {code} at {order!r}")
