"""The command line as its users start it: a process of its own, its output in pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 60
COMMAND = (sys.executable, "-m", "async_mongo_pool")


def environment(**changes: str) -> dict[str, str]:
    """Without a server of the surroundings; colours are asked for, and must not come into a pipe."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MONGODB_")}
    return {**inherited, "FORCE_COLOR": "1", "COLUMNS": "200", **changes}


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # In the background of a shell this test inherits that Ctrl-C is ignored, and would pass it on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
