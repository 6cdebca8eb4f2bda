"""Scripts of this project as processes of their own, bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import pytest

from tests.timing import now

if TYPE_CHECKING:
    from types import TracebackType

_ROOT = Path(__file__).parents[2]
_LIMIT = 60.0


@dataclass(frozen=True)
class Outcome:
    """How a script ended.

    Attributes:
        reports: What it reported.
        stderr: What it wrote there.
        exit_code: As for ``subprocess``.
        ended: When it was gone, by ``time.monotonic``.
        stalled: Seconds for which the machine kept everybody waiting while it ran.
    """

    reports: list[dict[str, Any]]
    stderr: str
    exit_code: int
    ended: float
    stalled: float

    @property
    def report(self) -> dict[str, Any]:
        assert self.reports, f"exit code {self.exit_code}, nothing reported:\n{self.stderr}"
        return self.reports[-1]


class Script:
    """A module of ``tests.processes.scripts`` running; a context manager that leaves no process."""

    def __init__(self, module: str, *arguments: str, strict: bool = False, **environment: str) -> None:
        self._began = now()
        # Development mode shows every resource warning and what asyncio has to say.
        options = ["-X", "dev", *(["-W", "error"] if strict else [])]
        self._process = subprocess.Popen(
            [sys.executable, *options, "-m", f"tests.processes.scripts.{module}", *arguments],
            cwd=_ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reports: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(_LIMIT)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def next_report(self) -> dict[str, Any]:
        """The next line that the script reports; the test's own timeout bounds the wait."""
        line = self._pipe(self._process.stdout).readline()
        if not line:
            pytest.fail(f"the script has ended: {self._pipe(self._process.stderr).read()}")
        self._reports.append(json.loads(line))
        return self._reports[-1]

    def go_on(self) -> None:
        """Let a script that waits for a line on its standard input continue."""
        stdin = self._pipe(self._process.stdin)
        stdin.write("go on\n")
        stdin.flush()

    def outcome(self, limit: float = _LIMIT) -> Outcome:
        """Wait for the end of the script."""
        self._process.wait(limit)
        ended = now()
        lines = self._pipe(self._process.stdout).read().splitlines()
        self._reports += [json.loads(line) for line in lines]
        stderr = self._pipe(self._process.stderr).read()
        return Outcome(self._reports, stderr, self._process.returncode, ended.at, (ended - self._began).stalled)

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


def run_script(module: str, *arguments: str, strict: bool = False, **environment: str) -> Outcome:
    """Run a script to its end."""
    with Script(module, *arguments, strict=strict, **environment) as script:
        return script.outcome()
