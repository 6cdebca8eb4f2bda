"""The owner's end of a supervised mongod process."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from async_mongo_pool.testing.errors import ServerError, ServerNotOwnedError

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence

__all__ = ["SupervisedProcess"]

_SUPERVISOR = Path(__file__).with_name("_supervisor.py")
_ANSWER_LIMIT = 10.0
_LOG_TAIL_BYTES = 200_000
# How long one wait for the supervisor holds the others up.
_SLICE = 0.05


class SupervisedProcess:
    """One mongod, started through a supervisor that outlives this process and cleans up after it.

    Attributes:
        directory: The directory of this server alone; gone after `close`.
        pid: The process id of mongod, None while none runs.
        exit_code: That of the last mongod that ended (negative: the signal), else None.
    """

    def __init__(self) -> None:
        self.pid: int | None = None
        self.exit_code: int | None = None
        self._owner = os.getpid()
        self._unread = b""
        self._failure: str | None = None
        self._signalled = False
        # Two threads of a test may ask at once; each takes in what arrived for both.
        self._receiving = threading.Lock()
        self._directory: Path | None = None
        self._supervisor = self._spawn()
        self._wait(lambda: self._directory is not None, _ANSWER_LIMIT, "the supervisor to start")
        assert self._directory is not None  # noqa: S101 - what was just waited for
        self.directory: Path = self._directory

    def _spawn(self) -> subprocess.Popen[bytes]:
        # By its path and isolated: nothing of this package, site-packages or the environment is imported.
        command = [sys.executable, "-I", "-S", str(_SUPERVISOR), str(self._owner), tempfile.gettempdir()]
        return subprocess.Popen(  # noqa: S603 - this package's own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # Ctrl-C goes to the terminal's process group: the servers are not in it.
            start_new_session=True,
        )

    @property
    def log(self) -> Path:
        """The file with mongod's output."""
        return self.directory / "mongod.log"

    def log_since(self, offset: int) -> str:
        """What mongod has written from the byte `offset` on."""
        try:
            with self.log.open("rb") as log:
                log.seek(offset)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def log_size(self) -> int:
        """Bytes in the log; 0 before the first start."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_tail(self, lines: int = 30) -> str:
        """The last `lines` lines of the log."""
        text = self.log_since(max(0, self.log_size() - _LOG_TAIL_BYTES))
        return "\n".join(text.splitlines()[-lines:])

    def start(self, arguments: Sequence[str]) -> None:
        """Start mongod with these arguments and return when the process exists, not yet ready.

        Raises:
            ServerError: It cannot be run, or the supervisor does not answer.
        """
        self.require_owner()
        self._failure = None
        self._send({"start": list(arguments)})
        self._wait(lambda: (self.pid or self._failure) is not None, _ANSWER_LIMIT, "mongod to be started")
        if self._failure is not None:
            raise ServerError(f"mongod cannot be run: {self._failure}")

    def running(self) -> bool:
        """Whether mongod runs (a suspended one does)."""
        if os.getpid() != self._owner:
            return self.pid is not None
        self._receive(0)
        return self.pid is not None and self._supervisor.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send mongod a signal and return when it was sent.

        Raises:
            ServerError: mongod does not run.
            ServerNotOwnedError: Another process started it.
        """
        self.require_owner()
        if not self.running():
            raise ServerError(f"mongod does not run (exit code {self.exit_code}): no {number.name} sent")
        self._signalled = False
        self._send({"signal": int(number)})
        self._wait(lambda: self._signalled, _ANSWER_LIMIT, f"{number.name} to be sent")

    def wait_exit(self, timeout: float) -> bool:
        """Wait until mongod has ended; False when it still runs after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while self.running():
            if time.monotonic() >= deadline:
                return False
            self._receive(_SLICE)
        return True

    def close(self, timeout: float = 15.0) -> None:
        """Kill mongod, wait for it and for the removal of the directory. Nothing happens in another process.

        Raises:
            ServerError: The supervisor was not done after `timeout` seconds.
        """
        if os.getpid() != self._owner:
            return
        assert self._supervisor.stdin is not None  # noqa: S101 - both are pipes
        assert self._supervisor.stdout is not None  # noqa: S101
        self._supervisor.stdin.close()
        self._supervisor.stdout.close()
        try:
            self._supervisor.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise self.failure(f"the end of mongod and of {self.directory}", timeout) from error
        self._clean_up_alone()
        self.pid = None

    def _clean_up_alone(self) -> None:
        """Do the supervisor's last work where it was killed itself."""
        if self.pid is not None and self.directory.exists():
            _kill_if_still_ours(self.pid, self.directory)
            shutil.rmtree(self.directory, ignore_errors=True)

    def require_owner(self) -> None:
        """Only the process that started a server decides over it.

        Raises:
            ServerNotOwnedError: This is a forked child of that process.
        """
        if os.getpid() != self._owner:
            raise ServerNotOwnedError(f"this server belongs to process {self._owner}, not to {os.getpid()}")

    def failure(self, awaited: str, timeout: float) -> ServerError:
        """The error that says what was waited for, how long, and what the log says."""
        state = f"runs as {self.pid}" if self.pid is not None else f"does not run, exit code {self.exit_code}"
        tail = self.log_tail() if self._directory is not None else ""
        return ServerError(
            f"waited {timeout:g} s in vain for {awaited} (mongod {state}). "
            f"The tail of its log:\n{tail or '(empty)'}"
        )

    def _send(self, command: dict[str, Any]) -> None:
        assert self._supervisor.stdin is not None  # noqa: S101 - a pipe
        try:
            self._supervisor.stdin.write(json.dumps(command).encode() + b"\n")
        except (BrokenPipeError, ValueError) as error:
            raise ServerError("this server was stopped, or its supervisor was killed") from error

    def _wait(self, condition: Callable[[], bool], timeout: float, awaited: str) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() >= deadline or self._supervisor.poll() is not None:
                raise self.failure(awaited, timeout)
            self._receive(_SLICE)

    def _receive(self, timeout: float) -> None:
        """Take in what the supervisor has reported, waiting for at most `timeout` seconds."""
        if os.getpid() != self._owner:
            return
        with self._receiving:
            stdout = self._supervisor.stdout
            if stdout is None or stdout.closed or not _readable(stdout.fileno(), timeout):
                return
            *lines, self._unread = (self._unread + os.read(stdout.fileno(), 65536)).split(b"\n")
            for line in lines:
                self._take(json.loads(line))

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"directory": path}:
                self._directory = Path(path)
            case {"started": pid}:
                self.pid, self.exit_code = pid, None
            case {"failed": why}:
                self._failure = why
            case {"signalled": _}:
                self._signalled = True
            case {"exited": code}:
                self.pid, self.exit_code = None, code


def _readable(descriptor: int, timeout: float) -> bool:
    # Not select(): that refuses descriptors from 1024 on, which a process with many connections has.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def _kill_if_still_ours(pid: int, directory: Path) -> None:
    """Kill the mongod whose supervisor is gone, unless its pid belongs to something else by now."""
    try:
        import psutil
    except ImportError:
        return  # an extra's package; without it nothing tells whose the pid is
    try:
        process = psutil.Process(pid)
        if any(str(directory) in argument for argument in process.cmdline()):
            process.kill()
            process.wait(_ANSWER_LIMIT)
    except psutil.NoSuchProcess:
        return
