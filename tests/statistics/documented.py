"""What the docstrings of the statistics say of each key."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import Any

from async_mongo_pool.distribution import Distribution


def meanings(kind: type[Any]) -> dict[str, str]:
    """Each key of a statistics class, those of its bases first, and the sentence of its docstring."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        found |= _attributes(inspect.getdoc(each) or "")
    for name in (*getattr(kind, "_derived", ()), *_numbers_of(kind)):
        found.setdefault(name, _first_sentence(inspect.getdoc(getattr(kind, name)) or ""))
    return {name: re.sub("``", "`", text) for name, text in found.items()}


def keys(kind: type[Any]) -> set[str]:
    """The keys that ``as_dict`` of a statistics class gives."""
    return {each.name for each in fields(kind)} | {*getattr(kind, "_derived", ()), *_numbers_of(kind)}


def _numbers_of(kind: type[Any]) -> list[str]:
    """What a distribution gives beside its fields: it lists that in ``as_dict`` itself."""
    if kind is not Distribution:
        return []
    names = {each.name for each in fields(kind)}
    return [name for name in kind().as_dict() if name not in names]


def _attributes(text: str) -> dict[str, str]:
    section = re.search(r"^Attributes:\n((?:    .*\n?|\n)+)", text, flags=re.MULTILINE)
    if section is None:
        return {}
    entries = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", section[1], flags=re.MULTILINE)
    return {name: " ".join(entry.split()) for name, entry in entries}


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())
