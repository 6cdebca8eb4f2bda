"""A small table on the terminal: rich's where it is installed, else plain columns."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pymongo

if TYPE_CHECKING:
    from collections.abc import Sequence


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"{title}\n{surroundings()}\n")
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        for row in (headings, *rows):
            print(f"{row[0]:<46}" + "".join(f"{cell:>14}" for cell in row[1:]))
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    console.width = max(console.width, 100)
    console.print(table)


def surroundings() -> str:
    return f"Python {platform.python_version()}, PyMongo {pymongo.version}, {platform.machine()}"
