"""The parent of one mongod: ends it and removes its directory when the owner is gone, however it went.

Run as a process of its own. It imports the standard library alone, nothing of this package, so it is up in
milliseconds. The owner talks to it in lines of JSON:

- to it (standard input): ``{"start": [argv]}`` and ``{"signal": number}``;
- from it (standard output): ``{"directory": path}`` once, then ``{"started": pid}``, ``{"failed": why}``,
  ``{"signalled": number}`` and ``{"exited": code}``.

The end of standard input, or another parent than the owner, is the end: mongod is killed (a suspended one
too), waited for, and the directory is removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

POLL_INTERVAL = 0.05
REMOVAL_LIMIT = 10.0
STOPPING_LIMIT = 1.0
STANDARD_INPUT, STANDARD_OUTPUT = 0, 1


class Supervisor:
    """One mongod, its directory, and the watch over the owner."""

    def __init__(self, owner: int, directory: Path) -> None:
        self.owner = owner
        self.directory = directory
        self.mongod: subprocess.Popen[bytes] | None = None
        self.exit_reported = True
        self.unread = b""

    def watch(self) -> None:
        """Serve the owner until its pipe ends or it is no longer our parent."""
        # A forked child of the owner holds the pipe open too: our parent's pid tells that the owner died.
        while os.getppid() == self.owner:
            self.report_exit()
            readable, _, _ = select.select([STANDARD_INPUT], [], [], POLL_INTERVAL)
            if readable and not self.read_commands():
                return

    def read_commands(self) -> bool:
        """Carry out the complete lines that have arrived; False when the owner closed its end."""
        received = os.read(STANDARD_INPUT, 65536)
        *lines, self.unread = (self.unread + received).split(b"\n")
        for line in lines:
            self.carry_out(json.loads(line))
        return bool(received)

    def carry_out(self, command: dict[str, Any]) -> None:
        """Start a mongod, or signal the one that runs."""
        if "start" in command:
            self.start(command["start"])
        elif "signal" in command and self.mongod is not None:
            # Popen looks first whether the process has ended: a pid that was reused is never signalled.
            self.mongod.send_signal(command["signal"])
            if command["signal"] == signal.SIGSTOP:
                wait_stopped(self.mongod.pid)
            report({"signalled": command["signal"]})

    def start(self, arguments: list[str]) -> None:
        """Start mongod with its output in the directory's log."""
        try:
            with (self.directory / "mongod.log").open("ab") as log:
                self.mongod = subprocess.Popen(  # noqa: S603 - the owner's own choice of binary and arguments
                    arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                )
        except OSError as error:
            report({"failed": str(error)})
            return
        self.exit_reported = False
        report({"started": self.mongod.pid})

    def report_exit(self) -> None:
        """Tell the owner, once, that mongod has ended."""
        if self.mongod is not None and not self.exit_reported and self.mongod.poll() is not None:
            self.exit_reported = True
            report({"exited": self.mongod.returncode})

    def clean_up(self) -> None:
        """Kill mongod and remove the directory."""
        if self.mongod is not None:
            self.mongod.kill()
            self.mongod.wait()
        deadline = time.monotonic() + REMOVAL_LIMIT
        while self.directory.exists() and time.monotonic() < deadline:
            shutil.rmtree(self.directory, ignore_errors=True)


def wait_stopped(pid: int) -> None:
    """Wait until every thread of the process has stopped: the signal alone is only a request."""
    if not hasattr(os, "waitid"):
        return
    deadline = time.monotonic() + STOPPING_LIMIT
    while time.monotonic() < deadline:
        try:
            if os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None:
                return
        except ChildProcessError:
            return
        time.sleep(0.001)


def report(message: dict[str, Any]) -> None:
    """Send one line to the owner, who may be gone."""
    # That it is gone is noticed by the watch.
    with contextlib.suppress(BrokenPipeError):
        os.write(STANDARD_OUTPUT, json.dumps(message).encode() + b"\n")


def leave_on_signals() -> None:
    """Turn a request to end into an exit that cleans up; the terminal's Ctrl-C is not meant for us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: sys.exit(1))


def main(owner: int, parent_directory: str) -> None:
    """Watch over one mongod for the process `owner`."""
    leave_on_signals()
    directory = Path(tempfile.mkdtemp(prefix="async-mongo-pool-", dir=parent_directory))
    supervisor = Supervisor(owner, directory)
    try:
        report({"directory": str(directory)})
        supervisor.watch()
    finally:
        # A second signal must not interrupt the cleaning.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        supervisor.clean_up()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
