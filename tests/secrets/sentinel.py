"""A secret made for one input, and how to find any part of it in a text, however it is written there."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

__all__ = ["ENCODINGS", "Sentinel", "encoded", "found"]

_LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_ODD = ("@", ":", "/", "%", "&", "#", "?", "=", "+", ";", ",", "[", "]", " ", ".", "\\", "'", '"', "$", "~")
_FOREIGN = (
    "ü",
    "ß",
    "€",
    "😀",
    "Ж",
    "中",
    "\u00a0",
    "é",
    "\n",
    "\t",
    "%2F",
    "%00",
    "%25",
    "://",
    "@@",
    "://u:p@h",
)

ENCODINGS = ("quote", "quote_plus", "every", "every_lower", "mixed", "raw", "twice")
"""How a secret can stand in a connection string; in the last two it is not what the user meant."""


class Sentinel:
    """A secret whose parts occur nowhere else.

    Args:
        draw: Where its letters come from.
        plain: Made of letters and digits alone.
    """

    def __init__(self, draw: random.Random, *, plain: bool = False) -> None:
        # Two words: what shows only a part of the secret is found too.
        self.words = tuple("Zq" + "".join(draw.choices(_LETTERS, k=9)) for _ in range(2))
        first, second = self.words
        odd = ["" if plain else "".join(draw.choices(_ODD + _FOREIGN, k=draw.randrange(3))) for _ in range(3)]
        # The ends are stripped where a password comes from a variable.
        self.text = f"{odd[0].strip()}{first}{odd[1]}{second}{odd[2].strip()}"
        whole = self.text.encode("utf-8")
        self.coded = (base64.b64encode(whole).decode().rstrip("="), whole.hex())

    def __repr__(self) -> str:
        return f"Sentinel({self.text!r})"


def encoded(text: str, encoding: str, draw: random.Random) -> str:
    """Write a secret as one could write it in a connection string."""
    if encoding == "quote":
        return quote(text, safe="")
    if encoding == "quote_plus":
        return quote_plus(text)
    if encoding == "twice":
        return quote(quote(text, safe=""), safe="")
    if encoding in ("every", "every_lower"):
        hexadecimal = text.encode().hex("%", 1)
        return "%" + (hexadecimal.upper() if encoding == "every" else hexadecimal)
    if encoding == "mixed":
        return "".join(
            quote(letter, safe="")
            if not letter.isalnum()
            else draw.choice((letter, f"%{ord(letter):02x}"))
            if letter.isascii()
            else quote(letter)
            for letter in text
        )
    return text


def found(sentinels: Iterable[Sentinel], text: str) -> list[str]:
    """The parts of secrets that a text shows: as they are, percent-encoded, in base64, in hexadecimal digits."""
    texts = {text}
    for _ in range(3):
        if "%" not in text:
            break
        text = unquote(text)
        texts.add(text)
    parts = [part for each in sentinels for part in (*each.words, *each.coded)]
    return [part for part in parts if any(part in each for each in texts)]
