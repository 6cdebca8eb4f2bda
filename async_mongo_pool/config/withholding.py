"""Leaving the secrets out of a pickle, and finding them again in the environment of the process that loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from async_mongo_pool.config.masked import MaskedOptions
from async_mongo_pool.config.options import is_secret, key_of, spelling
from async_mongo_pool.config.redaction import Secret
from async_mongo_pool.config.uri import ConnectionString, compose, split
from async_mongo_pool.config.vocabulary import HOLDS_SECRETS
from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["found_again", "still_withheld", "without_secrets"]

_WHOLE = "mongo_uri"


def without_secrets(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a PoolConfig's fields without secrets, and in ``withheld`` what was left out."""
    withheld = set(state["withheld"])
    uri, lost = _stripped(state[_WHOLE])
    options = {name: value for name, value in state["options"].items() if not isinstance(value, Secret)}
    withheld |= lost | {key_of(name) for name in set(state["options"]) - set(options)}
    if state["password"] is not None:
        withheld.add("password")
    kept = {**state, _WHOLE: uri, "password": None, "options": options}
    return {**kept, "withheld": tuple(sorted(withheld))}


def _stripped(uri: Any) -> tuple[str | None, set[str]]:
    if uri is None:
        return None, set()
    try:
        parts = split(uri.reveal())
    except (PoolConfigurationError, AttributeError, TypeError):
        return None, {_WHOLE}
    if parts.password and parts.password.reveal() in (parts.username or ""):
        # Nobody would know afterwards that this user name is to be masked.
        return None, {_WHOLE}
    pairs = parts.options.reveal()
    lost = {key_of(name) for name, _ in pairs if _is_withheld(key_of(name))}
    kept = "&".join(f"{name}={_escaped(name, value)}" for name, value in pairs if key_of(name) not in lost)
    if parts.password:
        lost.add("password")
    if not lost:
        return uri.reveal(), lost
    plain = compose(parts.scheme, parts.username, None, parts.hosts, parts.database)
    return plain + (f"?{kept}" if kept else ""), lost


def _is_withheld(key: str) -> bool:
    return is_secret(key) or key in HOLDS_SECRETS


def _escaped(name: str, value: str) -> str:
    return value if key_of(name) == "readpreferencetags" else quote(value, safe="")


def still_withheld(withheld: Iterable[str], given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is still missing after ``given`` was given."""
    if given.get(_WHOLE) is not None:
        return ()
    inner = given.get("options")
    known = {key_of(str(name)) for name in (*given, *(inner if isinstance(inner, (dict, MaskedOptions)) else ()))}
    return tuple(key for key in withheld if key not in known)


def found_again(
    withheld: tuple[str, ...], plain: ConnectionString | None, prefix: str | None, environ: Mapping[str, str]
) -> dict[str, Any]:
    """Find secrets that a pickle left out.

    Args:
        withheld: Their keys; not empty.
        plain: The address that the pickle kept.
        prefix: Of the variables that the configuration was read from.
        environ: The environment.

    Returns:
        Option values by key, wrapped.

    Raises:
        PoolConfigurationError: Something is missing; it names the variables to set.
    """
    found: dict[str, Any] = {}
    variables = (f"{prefix or 'MONGO_'}URI", "MONGODB_URI")
    for variable in variables:
        found = found or _from_address(environ.get(variable, "").strip(), plain)
    password = f"{prefix or 'MONGO_'}PASSWORD"
    if "password" not in found and environ.get(password, "").strip():
        found["password"] = Secret(environ[password].strip())
    missing = [key for key in withheld if key not in found]
    if missing:
        names = ", ".join("the connection string" if key == _WHOLE else spelling(key) for key in missing)
        raise PoolConfigurationError(
            f"This PoolConfig was unpickled, and a pickle holds no secrets: missing {names}. Set "
            f"{' or '.join(dict.fromkeys(variables))} to the connection string with the same user name and hosts, "
            f"or {password}; or give the secret again with config.replace(...)."
        )
    return {key: found[key] for key in withheld}


def _from_address(uri: str, plain: ConnectionString | None) -> dict[str, Any]:
    """Take the secrets of another connection string, if it is for the same user at the same hosts."""
    if not uri or plain is None:
        return {}
    parts = split(uri)
    if (parts.scheme, parts.username, set(parts.hosts)) != (plain.scheme, plain.username, set(plain.hosts)):
        return {}
    found: dict[str, Any] = {key_of(name): Secret(value) for name, value in parts.options.reveal()}
    return {**found, "password": parts.password} if parts.password else found
