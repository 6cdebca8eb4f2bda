"""Ctrl-C: cancel what runs, and leave within 2 s whatever a driver does while it closes."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EXIT_CODE", "cancel_on_interrupt"]

EXIT_CODE = 130
_LIMIT = 1.8


def cancel_on_interrupt(
    last_words: Callable[[], None], exit_code: int = EXIT_CODE, signals: tuple[int, ...] = (signal.SIGINT,)
) -> None:
    """Let Ctrl-C cancel the current task, and end the process if that takes too long, or at a second Ctrl-C.

    Args:
        last_words: Called before the process is ended; it must not wait.
        exit_code: What the process then ends with.
        signals: Which ones count as Ctrl-C.
    """
    task = asyncio.current_task()
    if task is None or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return

    def leave() -> None:
        last_words()
        # Not sys.exit: that joins the threads of Motor's own executor, and they wait for a server that is gone.
        # A server of ours has a supervisor, which ends it as soon as this process is gone.
        os._exit(exit_code)

    def interrupted() -> None:
        if task.cancelling():
            leave()
        limit = threading.Timer(_LIMIT, leave)
        limit.daemon = True
        limit.start()
        task.cancel()

    # Not on Windows: there asyncio's own handling cancels the task, without the limit.
    with suppress(NotImplementedError):
        for number in signals:
            asyncio.get_running_loop().add_signal_handler(number, interrupted)
