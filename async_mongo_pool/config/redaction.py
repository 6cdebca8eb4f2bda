"""Secrets: how they are wrapped while they live here, and how they are taken out of text and exceptions."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Set
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, cast

from async_mongo_pool.errors import PoolError

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["MASK", "HiddenText", "Redactor", "Secret", "digest"]

MASK = "***"

_Value = TypeVar("_Value")
_Error = TypeVar("_Error", bound=BaseException)

# Below this length a secret is also part of ordinary words; it is masked only where it stands alone.
_SHORT = 4
_DEPTH = 8
_PLAIN = (int, float, complex, bool, type(None))
# A digest without it could be tried out on a list of likely passwords.
_SALT = os.urandom(32)
# Exceptions written in C keep these outside ``__dict__``.
_NATIVE_ATTRIBUTES = (
    *("errno", "strerror", "filename", "filename2"),
    *("msg", "name", "path"),
    *("encoding", "object", "start", "end", "reason"),
)


class Secret(Generic[_Value]):
    """A value that shows itself to nobody who did not ask: ``repr`` and ``str`` are ``***``, it never pickles.

    Tracebacks that render local variables call ``repr``; values are wrapped at the public entry for that reason.
    """

    __slots__ = ("_value",)

    def __init__(self, value: _Value) -> None:
        self._value = value

    def reveal(self) -> _Value:
        """Return the wrapped value."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __format__(self, specification: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        return hash((Secret, type(self._value).__name__))

    def __copy__(self) -> Secret[_Value]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret[_Value]:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled; pickle the PoolConfig, which leaves its secrets out.")


# In a connection string: what stands between user name and host (to the last "@" in front of a space, because an
# unescaped password may hold others), and the options that hold secrets.
_IN_USERINFO = re.compile(r"(\bmongodb(?:\+srv)?://[^\s:/@]*:)\S+(?=@)")
_IN_OPTIONS = re.compile(
    r"([?&;](?i:tlsCertificateKeyFilePassword|proxyPassword|password)=|(?i:AWS_SESSION_TOKEN)(?::|%3A))[^\s&;,'\"]+"
)


class HiddenText(str):
    """A secret as the driver wants it, whose ``repr`` is ``'***'``; its ``str`` is the secret."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{MASK}'"


def digest(*parts: str | None) -> Hashable:
    """Return a value that is equal for equal parts, in this process, and from which they cannot be guessed."""
    joined = "\0".join("-" if part is None else f"+{len(part)}:{part}" for part in parts)
    # surrogatepass: a lone surrogate is a legal str and must not turn a comparison into an error.
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), key=_SALT).hexdigest()


def _character_pattern(character: str) -> str:
    """Match one character as it is, percent-encoded (also twice), or escaped as ``repr`` and JSON do."""
    encoded = "".join(f"%(?:25)*(?i:{byte:02x})" for byte in character.encode("utf-8", "surrogatepass"))
    forms = [re.escape(character), encoded]
    if character == " ":
        forms.append(r"\+")
    if character in "\\'\"":
        forms.append(r"\\+" + re.escape(character))
    if not (character.isascii() and character.isprintable()):
        forms.append(r"\\+" + re.escape(repr(character)[1:-1].lstrip("\\")))
        units = character.encode("utf-16-be", "surrogatepass")
        forms.append("".join(rf"\\+u(?i:{units[i : i + 2].hex()})" for i in range(0, len(units), 2)))
        forms.append(
            rf"\\+x(?i:{ord(character):02x})" if ord(character) < 256 else rf"\\+U(?i:{ord(character):08x})"
        )
        forms.append("".join(rf"\\+x(?i:{byte:02x})" for byte in character.encode("utf-8", "surrogatepass")))
    return f"(?:{'|'.join(forms)})"


def _secret_pattern(secret: str) -> str:
    """Match every form of ``secret``; a very short one only where it is not part of a longer word."""
    body = "".join(_character_pattern(character) for character in secret)
    if len(secret) >= _SHORT:
        return body
    if any(character.isalnum() for character in secret):
        return rf"(?<![0-9A-Za-z]){body}(?![0-9A-Za-z])"
    # Punctuation has no word boundary: a password ":" is masked between quotes or in front of an "@" only.
    return rf"(?<=[:='\"]){body}(?=[@'\"&])"


class Redactor:
    """Takes a fixed set of secrets out of text, values and exceptions.

    Each secret is found raw, percent-encoded in any mixture, and escaped as ``repr`` and JSON do. One of 1 to 3
    characters is masked only where it stands alone (not inside a longer word), so that a password ``a`` does not
    make every message unreadable.

    Args:
        secrets: The decoded secrets; empty ones are ignored.
    """

    __slots__ = ("_pattern", "_secrets")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first: of two secrets that start alike, the shorter would leave the rest of the longer visible.
        ordered = sorted({text for text in secrets if text}, key=lambda text: (-len(text), text))
        self._secrets: Secret[tuple[str, ...]] = Secret(tuple(ordered))
        self._pattern: Secret[re.Pattern[str]] | None = None

    @classmethod
    def of_all(cls, redactors: Iterable[Redactor]) -> Redactor:
        """Return one that knows the secrets of all these: one after the other would spoil it for the next."""
        return cls(secret for each in redactors for secret in each._secrets.reveal())

    def __repr__(self) -> str:
        return f"Redactor({len(self._secrets.reveal())} secrets)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Redactor holds secrets and cannot be pickled.")

    def scrub(self, text: str) -> str:
        """Return ``text`` with every form of every secret replaced by ``***``.

        The credentials of a connection string are, also of one that nobody knows here.
        """
        if self._secrets:
            if self._pattern is None:
                joined = "|".join(_secret_pattern(secret) for secret in self._secrets.reveal())
                self._pattern = Secret(re.compile(joined))
            text = self._pattern.reveal().sub(MASK, text)
        # Afterwards: a known secret may look like an address itself, and is masked as a whole.
        if "://" in text:
            text = _IN_OPTIONS.sub(rf"\1{MASK}", _IN_USERINFO.sub(rf"\1{MASK}", text))
        return text

    def scrub_value(self, value: Any, depth: int = _DEPTH) -> Any:
        """Return a copy of ``value`` without secrets; containers deeply, unknown objects by their ``repr``."""
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, BaseException):
            return self._copy(value, depth - 1) if depth else MASK
        if isinstance(value, (bytes, bytearray)):
            return self._scrub_bytes(bytes(value))
        if isinstance(value, (Mapping, list, tuple, Set)):
            return self._scrub_container(value, depth - 1) if depth else MASK
        return self._scrub_object(value)

    def scrub_exception(self, error: _Error) -> _Error:
        """Return an exception of the same type whose text, attributes and causes hold no secret.

        The driver's attributes (``code``, ``details``, ``errors``) are kept, scrubbed. The traceback is left out:
        its frames hold the driver's local variables. Raise the result outside the ``except`` block that caught
        ``error``, or Python sets the original as its context again.

        Args:
            error: What the driver raised.

        Returns:
            A new exception; ``error`` itself is not changed.
        """
        return self._copy(error, _DEPTH)

    def _scrub_bytes(self, value: bytes) -> bytes:
        for encoding, faults in (("utf-8", "surrogateescape"), ("latin-1", "replace")):
            text = value.decode(encoding, faults)
            if (clean := self.scrub(text)) != text:
                value = clean.encode(encoding, faults)
        return value

    def _scrub_container(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return {self.scrub_value(key, depth): self.scrub_value(item, depth) for key, item in value.items()}
        items = [self.scrub_value(item, depth) for item in value]
        if isinstance(value, list):
            return items
        return frozenset(items) if isinstance(value, Set) else tuple(items)

    def _scrub_object(self, value: Any) -> Any:
        try:
            shown = f"{value!r} {value}"
            clean = self.scrub(shown)
        except Exception:  # a foreign repr may raise anything
            return MASK
        return value if clean == shown else MASK

    def _copy(self, error: _Error, depth: int) -> _Error:
        clean: Any = self._rebuild(error, depth)
        cause, context = error.__cause__, error.__context__
        if depth > 0:
            clean.__cause__ = None if cause is None else self._copy(cause, depth - 1)
            clean.__context__ = None if context is None else self._copy(context, depth - 1)
        clean.__suppress_context__ = error.__suppress_context__
        return cast("_Error", clean)

    def _rebuild(self, error: BaseException, depth: int) -> BaseException:
        kind = type(error)
        try:
            if isinstance(error, BaseExceptionGroup):
                members = [self._copy(member, max(depth - 1, 0)) for member in error.exceptions]
                return kind(self.scrub(error.message), members)
            arguments = self.scrub_value(error.args, depth)
            # Not __init__: the driver's error classes ask for arguments that they do not keep in ``args``.
            clean = kind.__new__(kind, *arguments)
            clean.args = arguments
            for name in _NATIVE_ATTRIBUTES:
                if name not in vars(error) and getattr(error, name, None) is not None:
                    setattr(clean, name, self.scrub_value(getattr(error, name), depth))
            vars(clean).update(self.scrub_value(vars(error), depth))
            shown = f"{clean} {clean!r}"
        except Exception:  # an exception class may refuse to be rebuilt in any way
            return PoolError(f"{kind.__name__}: {self.scrub(_text(error))}")
        return clean if self.scrub(shown) == shown else PoolError(f"{kind.__name__}: {self.scrub(_text(error))}")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a foreign __str__ may raise anything
        return MASK
