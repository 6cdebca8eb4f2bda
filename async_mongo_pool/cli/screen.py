"""The demo's screen: moving on a terminal, plain lines of at most 80 columns where it is piped."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from async_mongo_pool.cli.load import Contender, Figures

__all__ = ["HEADING", "Screen", "figures_line", "milliseconds"]

_LABEL = 12
_PIPED_WIDTH = 80
_WIDEST = 100
_REFRESH = 0.1
_LOOKS_PER_LINE = 10

HEADING = f"{'operations':>12}{'op/s':>9}{'p50':>11}{'p99':>11}{'errors':>8}{'connections in use':>20}"


class Screen:
    """Where the demo writes to: standard output, and standard error for what went wrong."""

    def __init__(self) -> None:
        self.moving = sys.stdout.isatty()
        # Not rich's own guess: in CI systems FORCE_COLOR would put escape codes into a pipe.
        self.console = Console(
            force_terminal=self.moving,
            color_system="auto" if self.moving else None,
            highlight=False,
            width=None if self.moving else _PIPED_WIDTH,
        )
        self._errors = Console(stderr=True, highlight=False, soft_wrap=True)
        if self.console.width > _WIDEST:
            self.console.width = _WIDEST

    def title(self, text: str) -> None:
        """A line that begins a part of the demo."""
        self.console.print(Text(text, style="bold"))

    def fact(self, label: str, text: str) -> None:
        """A labelled sentence, wrapped beside its label."""
        indent = " " * _LABEL
        wrapped = textwrap.fill(text, self.console.width, initial_indent=indent, subsequent_indent=indent)
        self.console.print(Text.assemble((label.ljust(_LABEL), "cyan"), wrapped[_LABEL:]), no_wrap=True)

    def line(self, text: str = "") -> None:
        """A line as it is."""
        self.console.print(Text(text, no_wrap=True))

    def complain(self, text: str) -> None:
        """One sentence on standard error."""
        self._errors.print(Text(f"async-mongo-pool: {text}"))

    def restore(self) -> None:
        """Give the terminal its cursor back, which moving lines hide."""
        self.console.show_cursor()

    @asynccontextmanager
    async def progress(
        self, title: str, seconds: float | None = None, line: Callable[[], str] | None = None
    ) -> AsyncIterator[None]:
        """Show that something goes on, for as long as the block takes.

        Args:
            title: What goes on.
            seconds: How long it will take; None if nobody knows.
            line: The live numbers, asked again and again.
        """
        ticker = asyncio.create_task(self._move(title, seconds, line) if self.moving else self._list(title, line))
        try:
            yield
        finally:
            ticker.cancel()
            await asyncio.wait({ticker}, timeout=1)

    async def _move(self, title: str, seconds: float | None, line: Callable[[], str] | None) -> None:
        bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[time]}")
        )
        task = bar.add_task(title, total=seconds, time="")
        began = time.monotonic()
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            while True:
                elapsed = time.monotonic() - began
                bar.update(task, completed=elapsed if seconds else None, time=f"{elapsed:.1f} s")
                numbers = [Text(HEADING, style="dim"), Text(line())] if line is not None else []
                live.update(Group(bar, *numbers), refresh=True)
                await asyncio.sleep(_REFRESH)

    async def _list(self, title: str, line: Callable[[], str] | None) -> None:
        self.line(f"{title} ...")
        if line is None:
            return
        self.line(HEADING)
        while True:
            for _ in range(_LOOKS_PER_LINE):
                await asyncio.sleep(_REFRESH)
                numbers = line()
            self.line(numbers)

    def comparison(self, contenders: Sequence[Contender]) -> None:
        """The table of what was measured, one contender in each row."""
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("", no_wrap=True)
        for heading in ("operations/s", "p50", "p99", "connections\nopened", "errors"):
            table.add_column(heading, justify="right")
        for contender in contenders:
            table.add_row(contender.name, *_cells(contender.figures))
        self.console.print(table)


def _cells(figures: Figures) -> tuple[str, ...]:
    opened = "not told" if figures.connections is None else f"{figures.connections:,}"
    return (
        f"{figures.rate:,.0f}",
        milliseconds(figures.latency(0.5)),
        milliseconds(figures.latency(0.99)),
        opened,
        f"{figures.failed:,}",
    )


def figures_line(figures: Figures, in_use: str, *, recent: bool = True) -> str:
    """The figures under ``HEADING``.

    Args:
        figures: What was measured so far.
        in_use: The connections that carry an operation.
        recent: Percentiles of the last operations only.
    """
    return (
        f"{figures.operations:>12,}{figures.rate:>9,.0f}"
        f"{milliseconds(figures.latency(0.5, recent=recent)):>11}"
        f"{milliseconds(figures.latency(0.99, recent=recent)):>11}"
        f"{figures.failed:>8,}{in_use:>20}"
    )


def milliseconds(seconds: float | None) -> str:
    """A duration as text."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds * 1000:,.0f} ms"
