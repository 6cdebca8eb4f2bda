"""Where ``top`` writes to: a terminal that is drawn anew, or lines, one picture after the other."""

from __future__ import annotations

import json
import logging
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from async_mongo_pool.cli.top_frame import ASCII, UNICODE, View, frame, plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

__all__ = ["Notes", "TopScreen"]

_PIPED_WIDTH = 80
_WIDEST = 120
_NOTE_SECONDS = 10.0


class TopScreen:
    """Standard output, and standard error for what went wrong.

    Args:
        quiet: Whether nothing but what ``show_line`` writes may come to standard output.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        # Not rich's own guess: in CI systems FORCE_COLOR would put escape codes into a pipe.
        terminal = sys.stdout.isatty()
        self._console = Console(
            force_terminal=terminal, color_system="auto" if terminal else None, highlight=False
        )
        self._moving = terminal and not quiet and not self._console.is_dumb_terminal
        self._coloured = terminal and not quiet
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._last: View | None = None
        self._shown = 0
        self._glyphs = UNICODE if _can_write(UNICODE.ramp + UNICODE.used + UNICODE.idle + UNICODE.free) else ASCII

    @contextmanager
    def drawing(self, *, once: bool) -> Iterator[None]:
        """Take the terminal for as long as the block takes; its last picture stays on it.

        Args:
            once: There will be one picture only: it is printed.
        """
        if not self._moving or once:
            yield
            return
        self._live = Live(console=self._console, auto_refresh=False, screen=True)
        try:
            with self._live:
                yield
        finally:
            self._live = None
            if self._last is not None:
                self.show(self._last)

    def show(self, view: View) -> None:
        """Draw a picture.

        Raises:
            OSError: Nobody reads the output any more.
        """
        self._last = view
        if self._live is not None:
            # Asked each time: somebody may have made the window larger.
            width, height = self._console.size
            self._live.update(frame(view, min(width, _WIDEST), height, self._glyphs), refresh=True)
        elif self._coloured:
            width = min(self._console.width, _WIDEST)
            self._console.print(frame(view, width, None, self._glyphs), no_wrap=True)
        else:
            self._write(("\n" if self._shown else "") + plain(view, _PIPED_WIDTH, self._glyphs))
        self._shown += 1

    def show_line(self, stats: Mapping[str, Any]) -> None:
        """Write statistics as one line of JSON.

        Raises:
            OSError: Nobody reads the output any more.
        """
        self._write(json.dumps(stats, default=str))

    def complain(self, text: str) -> None:
        """One sentence on standard error."""
        self._errors.print(Text(f"async-mongo-pool: {text}"))

    def restore(self) -> None:
        """Give the terminal back as it was, whatever was going on."""
        if self._moving:
            self._console.set_alt_screen(enable=False)
            self._console.show_cursor()

    @asynccontextmanager
    async def progress(self, title: str) -> AsyncIterator[None]:
        """Show, on a terminal, that something goes on for as long as the block takes."""
        if not self._moving:
            yield
            return
        with self._console.status(title):
            yield

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


class Notes(logging.Handler):
    """Keeps the library's last warning for a while, so that it can be shown."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._text = ""
        self._until = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._text = record.getMessage()
        self._until = time.monotonic() + _NOTE_SECONDS

    def current(self) -> str:
        """The warning that is still to be shown; empty without."""
        return self._text if time.monotonic() < self._until else ""


def _can_write(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
