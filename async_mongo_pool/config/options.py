"""The vocabulary: which options exist, how they are spelled, and what values they take.

The driver's own validators decide, so that a newer PyMongo brings its options and its limits along.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pymongo
from bson.codec_options import TypeRegistry
from pymongo import common, compression_support
from pymongo.read_preferences import ReadPreference
from pymongo.server_api import ServerApi

from async_mongo_pool.config import vocabulary
from async_mongo_pool.config.identity import Same, freeze
from async_mongo_pool.config.redaction import MASK, Secret, digest
from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = [
    "Checked",
    "check",
    "describe",
    "is_secret",
    "is_unknown",
    "key_of",
    "masked_value",
    "spelling",
    "unknown",
]

_LONGEST_SHOWN = 80
# What no server takes; Python also refuses to print numbers of more than 4300 digits.
_BEYOND = 2**63
# The common base of Primary, Secondary ...: it has no public name.
_READ_PREFERENCE: Any = type(ReadPreference.SECONDARY).__mro__[-2]


@dataclass(frozen=True, slots=True, repr=False)
class Checked:
    """A value that was found good: for the driver, and in the form that compares by meaning."""

    for_driver: Any
    normal: Hashable


def key_of(name: str) -> str:
    """Return the form in which names compare: without case and without underscores."""
    return vocabulary.ALIASES.get(plain := name.replace("_", "").lower(), plain)


@functools.cache
def _validators() -> dict[str, Callable[[str, Any], Any]]:
    return {key_of(name): validator for name, validator in common.VALIDATORS.items() if name != "read_preference"}


@functools.cache
def _spellings() -> dict[str, str]:
    spelled = {key_of(name): name for name in (*common.VALIDATORS, *vocabulary.SPELLINGS)}
    return {key: name for key, name in spelled.items() if key in _validators()}


def spelling(key: str) -> str:
    """Return the driver's spelling of an option, given its comparable form."""
    return vocabulary.POOL_OPTIONS.get(key) or _spellings().get(key, key)


def is_known(key: str) -> bool:
    """Tell whether the installed driver has this option."""
    return key in _validators()


def is_unknown(key: str) -> bool:
    """Tell whether this is neither an option of the driver nor one of ours: its value is shown to nobody."""
    return key not in vocabulary.POOL_OPTIONS and not is_known(key)


def is_secret(key: str) -> bool:
    """Tell whether an option's whole value is a secret, as far as its name says."""
    return key != "authmechanismproperties" and bool(vocabulary.SECRET_NAME.search(key))


def unknown(name: Any, source: str, *, quotable: bool = True) -> PoolConfigurationError:
    """Build the error for a name that is no option: an answer where one is known, else the nearest names.

    Args:
        name: What the user wrote.
        source: Where it was written.
        quotable: False where the name could be a piece of a badly escaped secret.
    """
    if not isinstance(name, str):
        return PoolConfigurationError.unknown_option(f"of type {type(name).__name__}", source)
    if not quotable or not re.fullmatch(r"\w{1,60}", name):
        return PoolConfigurationError.unknown_option("(name not shown: it may be part of a secret)", source)
    key = key_of(name)
    if key in vocabulary.ANSWERS:
        return PoolConfigurationError.answered(name, source, vocabulary.ANSWERS[key])
    if key in {key_of(known) for known in vocabulary.SPELLINGS}:
        return PoolConfigurationError.answered(name, source, f"PyMongo {pymongo.version} does not have it yet")
    candidates = {**_spellings(), **vocabulary.POOL_OPTIONS}
    nearest = difflib.get_close_matches(key, candidates, n=3, cutoff=0.6)
    return PoolConfigurationError.unknown_option(name, source, [spelling(match) for match in nearest])


def describe(value: Any) -> str:
    """Show a value in an error without calling code of the value and without showing an address's credentials."""
    if value is None or type(value) in (bool, int, float):
        try:
            text = repr(value)
        except ValueError:  # Python refuses to print integers of more than 4300 digits
            text = "<a very large number>"
    elif type(value) is str:
        text = MASK if "://" in value or "@" in value else repr(value)
    else:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def check(key: str, value: Any, source: str, *, quotable: bool = True) -> Checked:
    """Validate one option's value and bring it into the driver's form and into its comparable form.

    Args:
        key: The option, as ``key_of`` gives it; a known one.
        value: What the user gave; never None.
        source: Where it was given, for the error.
        quotable: False where the value could be a piece of a badly escaped secret.

    Raises:
        PoolConfigurationError: The value is not allowed.
    """
    if isinstance(value, Secret):
        value = value.reveal()
    try:
        return _check(key, value)
    except Exception as error:  # a validator may raise anything for a foreign object
        hidden = not quotable or is_secret(key) or key in vocabulary.HOLDS_SECRETS
        shown = MASK if hidden else describe(value)
        allowed = vocabulary.ALLOWED.get(key) or ("a valid value" if hidden else _sentence(error))
    raise PoolConfigurationError.bad_value(spelling(key), shown, source, allowed)


def _sentence(error: Exception) -> str:
    """Return the driver's own words, unless its text holds an address."""
    text = str(error).rstrip(".")
    return "a valid value" if "://" in text or "@" in text or len(text) > 300 else text


def _check(key: str, value: Any) -> Checked:
    if key in vocabulary.WHOLE_NUMBERS:
        return _number(key, value, int)
    if key in vocabulary.MILLISECONDS:
        return _number(key, value, float)
    if key in _SPECIAL:
        return _SPECIAL[key](value)
    validated = _validators()[key](spelling(key), value)
    if _validators()[key] is common.validate_boolean_or_string:
        return Checked(validated, validated)
    if is_secret(key):
        return Checked(value, digest(validated))
    return Checked(value, freeze(validated))


def _number(key: str, value: Any, kind: type[int] | type[float]) -> Checked:
    # bool is an int in Python, and the driver takes maxPoolSize=True for 1.
    if isinstance(value, bool) or (isinstance(value, str) and not value.isascii()):
        raise TypeError("a number is needed")
    # In seconds for the timeouts, and None where 0 means "no limit": the unit and the 0 are kept here.
    _validators()[key](spelling(key), value)
    number = kind(value)
    if abs(number) >= _BEYOND:
        raise ValueError("too large")
    if key == "heartbeatfrequencyms" and number < common.MIN_HEARTBEAT_INTERVAL * 1000:
        raise ValueError("too often")
    plain = int(number) if number == int(number) else number
    return Checked(plain, plain)


def _write_concern(value: Any) -> Checked:
    validated = common.validate_non_negative_int_or_basestring("w", value)
    if isinstance(value, bool) or validated == "" or (isinstance(validated, int) and not 0 <= validated < _BEYOND):
        raise ValueError("w is a number of members or a tag")
    return Checked(validated, validated)


def _read_preference(value: Any) -> Checked:
    if isinstance(value, _READ_PREFERENCE):
        document = value.document
        return Checked(value, freeze({**document, "tags": list(document.get("tags", []))}))
    common.validate_read_preference_mode("readPreference", value)
    return Checked(value, freeze({"mode": value, "tags": []}))


def _read_preference_tags(value: Any) -> Checked:
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    return Checked(given, freeze(common.validate_read_preference_tags("readPreferenceTags", given)))


def _mechanism_properties(value: Any) -> Checked:
    validated: dict[str, Any] = dict(common.validate_auth_mechanism_properties("authMechanismProperties", value))
    # Callbacks compare by identity; everything else is hashed, as any of it may be a token.
    return Checked(validated, frozenset((key, _property(item)) for key, item in validated.items()))


def _property(value: Any) -> Hashable:
    if isinstance(value, (str, bool)):
        return digest(str(value))
    return freeze(value) if isinstance(value, list) else Same(value)


def _compressors(value: Any) -> Checked:
    names = [name.strip() for name in (value.split(",") if isinstance(value, str) else list(value))]
    if not names or any(name not in vocabulary.COMPRESSORS for name in names):
        raise ValueError("unknown compressor")
    return Checked(names, tuple(names))


def missing_compressors(names: list[str]) -> list[str]:
    """Return the compressors whose package is not installed: the driver drops them with a warning."""
    return [name for name in names if not getattr(compression_support, f"_have_{name}", lambda: True)()]


def _server_api(value: Any) -> Checked:
    if not isinstance(value, ServerApi):
        raise TypeError("server_api must be a ServerApi")
    return Checked(value, ("server_api", value.version, value.strict, value.deprecation_errors))


def _event_listeners(value: Any) -> Checked:
    listeners = tuple(common.VALIDATORS["event_listeners"]("event_listeners", value))
    return Checked(listeners, tuple(Same(listener) for listener in listeners))


def _type_registry(value: Any) -> Checked:
    if not isinstance(value, TypeRegistry):
        raise TypeError("type_registry must be a TypeRegistry")
    return Checked(value, freeze(value))


def _auto_encryption(value: Any) -> Checked:
    common.VALIDATORS["auto_encryption_opts"]("auto_encryption_opts", value)
    return Checked(value, Same(value))


def _not_empty(value: Any) -> Checked:
    # A lone surrogate is a legal str, but no part of an address: encoding it raises here and not later.
    if not common.validate_string("value", value).encode("utf-8"):
        raise ValueError("must not be empty")
    return Checked(value, value)


def _password(value: Any) -> Checked:
    common.validate_string("password", value).encode("utf-8")
    return Checked(value, digest(value))


def _file(value: Any) -> Checked:
    # Not the driver's validator: that one opens the file, and this module does no I/O.
    return Checked(common.validate_string("file", value), value)


_SPECIAL: dict[str, Callable[[Any], Checked]] = {
    "w": _write_concern,
    "readpreference": _read_preference,
    "readpreferencetags": _read_preference_tags,
    "authmechanismproperties": _mechanism_properties,
    "compressors": _compressors,
    "serverapi": _server_api,
    "eventlisteners": _event_listeners,
    "typeregistry": _type_registry,
    "autoencryptionopts": _auto_encryption,
    "authsource": _not_empty,
    "replicaset": _not_empty,
    "username": _not_empty,
    "password": _password,
    "tlscafile": _file,
    "tlscrlfile": _file,
    "tlscertificatekeyfile": _file,
}


def masked_value(key: str, value: Any) -> Any:
    """Return ``value`` as it may be shown: whole secrets as ``***``, secret properties masked one by one.

    Objects of the user's that are called stand there by their names: their own ``repr`` may show anything.
    """
    if isinstance(value, Secret) or is_secret(key) or key == "autoencryptionopts":
        return MASK
    if key == "authmechanismproperties":
        safe = vocabulary.SAFE_MECHANISM_PROPERTIES
        return {name: item if str(name).upper() in safe else MASK for name, item in value.items()}
    if key in vocabulary.CALLED and value is not None:
        each = value if isinstance(value, (list, tuple)) else [value]
        names = [getattr(item, "__qualname__", None) or type(item).__qualname__ for item in each]
        return names if isinstance(value, (list, tuple)) else names[0]
    return value
