"""Taking connection strings apart and putting them together: no DNS, and errors that quote nothing.

The rules are those of the driver's parser (``pymongo.uri_parser``), made stricter where a badly escaped password
would otherwise pass as a database name or an option.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus

from async_mongo_pool.config.options import key_of
from async_mongo_pool.config.redaction import MASK, Secret
from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ConnectionString", "Host", "compose", "mask_uri", "socket_at", "split", "validated_database"]

SCHEMES = ("mongodb", "mongodb+srv")
DEFAULT_PORT = 27017

_ESCAPE_HINT = "user name and password must be percent-encoded, use urllib.parse.quote_plus"
_IPV6 = re.compile(r"\[(?P<host>[0-9A-Fa-f:.]+(?:%[^\]\s]+)?)\](?::(?P<port>.*))?", re.DOTALL)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BAD_HOST = re.compile(r"[\s\x00-\x1f\x7f@/\\?#\[\]\"'<>]")
# The driver refuses / space " $ here, and \ and NUL as soon as the database is used.
_BAD_DATABASE = re.compile(r'[/ "$\\\x00]')
# Azure writes appName=@account@; elsewhere a raw "@" means that a password was cut in two.
_MAY_HOLD_AT = frozenset({"appname", "authmechanismproperties", "tlscertificatekeyfilepassword"})
# A raw "&" in one of these makes the rest of the secret look like an option.
_MAY_SPILL = frozenset({"authmechanismproperties", "tlscertificatekeyfilepassword", "password"})


@dataclass(frozen=True, slots=True)
class Host:
    """One server of the address.

    Attributes:
        name: The host name or IP address in lower case, or the path of a Unix socket.
        port: The port; None for a Unix socket and for an SRV name.
    """

    name: str
    port: int | None

    def __str__(self) -> str:
        if self.name.endswith(".sock"):
            return quote(self.name, safe="")
        name = f"[{self.name.replace('%', '%25')}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """The parts of a connection string, decoded.

    Attributes:
        scheme: ``mongodb`` or ``mongodb+srv``.
        username: None if there is none.
        password: None if there is none or it is empty.
        hosts: In the order of the string.
        database: None if there is none.
        options: Names as written with their values, in order; repeated names stay repeated.
        quotable: False if names and values could be pieces of a badly escaped secret.
    """

    scheme: str
    username: str | None
    password: Secret[str] | None
    hosts: tuple[Host, ...]
    database: str | None
    options: Secret[tuple[tuple[str, str], ...]]
    quotable: bool


def split(text: str) -> ConnectionString:
    """Take a connection string apart.

    Args:
        text: ``mongodb://`` or ``mongodb+srv://`` and the rest.

    Returns:
        Its parts, percent-decoded except for the values that the driver decodes itself (``readPreferenceTags`` and
        ``authMechanismProperties``).

    Raises:
        PoolConfigurationError: It says what is wrong and quotes no part of ``text``.
    """
    scheme, rest = _scheme(text)
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    userinfo, at, hosts = authority.rpartition("@")
    username, password = _userinfo(userinfo) if at else (None, None)
    if "@" in path:
        raise _problem(f"an unescaped '@' or '/' before the host name; {_ESCAPE_HINT}")
    pairs = _pairs(query)
    keys = {key_of(name) for name, _ in pairs}
    return ConnectionString(
        scheme=scheme,
        username=username,
        password=password,
        hosts=_hosts(hosts, scheme),
        database=validated_database(unquote_plus(path).partition(".")[0], "in the connection string")
        if path
        else None,
        options=Secret(pairs),
        quotable=not keys & _MAY_SPILL,
    )


def mask_uri(text: object) -> str:
    """Return a connection string as it may be logged: without password and options.

    Args:
        text: Anything; what cannot be parsed is reduced to its scheme.
    """
    if not isinstance(text, str):
        return MASK
    try:
        parts = split(text)
    except PoolConfigurationError:
        scheme = text.partition("://")[0]
        return f"{scheme}://{MASK}" if scheme in SCHEMES else MASK
    name, password = parts.username, parts.password
    if name is not None and password and password.reveal() in name:
        name = MASK
    return compose(parts.scheme, name, MASK if password else None, parts.hosts, parts.database)


def compose(
    scheme: str, username: str | None, password: str | None, hosts: Iterable[Host], database: str | None
) -> str:
    """Put a connection string together, percent-encoding each part.

    Args:
        scheme: ``mongodb`` or ``mongodb+srv``.
        username: Decoded, or None.
        password: Decoded, ``***`` to show that there is one, or None.
        hosts: At least one.
        database: Decoded, or None.
    """
    userinfo = ""
    if username is not None:
        secret = "" if password is None else f":{password if password == MASK else quote(password, safe='')}"
        userinfo = f"{username if username == MASK else quote(username, safe='')}{secret}@"
    return f"{scheme}://{userinfo}{','.join(str(host) for host in hosts)}/{quote(database or '', safe='')}"


def validated_database(name: str, where: str) -> str:
    """Return ``name`` if a database may be called so.

    Raises:
        PoolConfigurationError: It is empty or holds a character that the server refuses.
    """
    if not name or _BAD_DATABASE.search(name):
        raise _problem(f'the database name {where} is empty or holds one of / \\ " $, a space or a NUL character')
    return name


def parse_hosts(text: str, scheme: str = "mongodb") -> tuple[Host, ...]:
    """Take the host list of a connection string apart (also used for builders)."""
    return _hosts(text, scheme)


def _problem(reason: str) -> PoolConfigurationError:
    return PoolConfigurationError.bad_connection_string(reason)


def _scheme(text: str) -> tuple[str, str]:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        raise _problem("it must begin with mongodb:// or mongodb+srv://")
    if text != text.strip():
        raise _problem("it ends with a space or a line break")
    return scheme, rest


def _userinfo(text: str) -> tuple[str, Secret[str] | None]:
    if "@" in text or text.count(":") > 1:
        raise _problem(f"an unescaped '@' or ':' in the user name or password; {_ESCAPE_HINT}")
    if _BAD_PERCENT.search(text):
        raise _problem(f"a '%' that begins no escape in the user name or password; {_ESCAPE_HINT}")
    username, _, password = text.partition(":")
    if not username:
        raise _problem("the user name is empty")
    try:
        decoded = unquote_plus(password, errors="strict")
        return unquote_plus(username, errors="strict"), Secret(decoded) if decoded else None
    except UnicodeDecodeError:
        reason = f"a percent-escape in the user name or password is not UTF-8; {_ESCAPE_HINT}"
    raise _problem(reason)


def _hosts(text: str, scheme: str) -> tuple[Host, ...]:
    default = None if scheme == "mongodb+srv" else DEFAULT_PORT
    hosts = tuple(_host(entity, default) for entity in text.split(","))
    if scheme == "mongodb+srv":
        _check_srv(hosts)
    return hosts


def _check_srv(hosts: tuple[Host, ...]) -> None:
    if len(hosts) != 1:
        raise _problem("mongodb+srv:// takes one host name, and only one")
    if hosts[0].port is not None:
        raise _problem("mongodb+srv:// takes no port: the DNS record names the ports")
    name = hosts[0].name
    if ":" in name or name.endswith(".sock") or re.fullmatch(r"[\d.]+", name):
        raise _problem("mongodb+srv:// takes a host name, not an IP address or a socket; use mongodb://")


def _host(entity: str, default_port: int | None) -> Host:
    if not entity:
        raise _problem("a host name is empty, or there is a comma too many")
    if entity.endswith(".sock"):
        if "/" in entity:
            raise _problem("each '/' in the path of a Unix socket must be written %2F")
        return socket_at(unquote_plus(entity))
    if entity.startswith("["):
        literal = _IPV6.fullmatch(entity)
        if literal is None:
            raise _problem(f"an IPv6 address must be written [address] or [address]:port, or {_ESCAPE_HINT}")
        name, port = literal["host"].replace("%25", "%"), literal["port"]
    else:
        if entity.count(":") > 1:
            raise _problem(f"a host has more than one ':'; write an IPv6 address in brackets, and {_ESCAPE_HINT}")
        name, colon, after = entity.partition(":")
        port = after if colon else None
    return Host(_host_name(name), default_port if port is None else _port(port))


def socket_at(path: str) -> Host:
    """Return the Unix socket at a path.

    Raises:
        PoolConfigurationError: There is an "@" in it: it is an address, perhaps with a password, and no path.
    """
    if "@" in path:
        raise _problem("the path of a Unix socket holds an '@': user name and password do not belong there")
    return Host(path, None)


def _host_name(name: str) -> str:
    if not name:
        raise _problem("a host name is empty")
    if _BAD_HOST.search(name) or ("%" in name and ":" not in name):
        raise _problem(f"a host name holds a character that no host name has; {_ESCAPE_HINT}")
    return name.lower()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _problem(f"a port is not a number; {_ESCAPE_HINT}")
    if len(text) > 5 or not 0 < int(text) <= 65535:
        raise _problem("a port must be a number from 1 to 65535")
    return int(text)


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    if not query:
        return ()
    if "&" in query and ";" in query:
        raise _problem("the options are separated by both '&' and ';'")
    separator = "&" if "&" in query else ";"
    return tuple(_pair(item) for item in query.split(separator))


def _pair(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not name or not equals or "=" in value:
        raise _problem("the options after '?' must be name=value pairs; in a value write '=' as %3D, '&' as %26")
    key = key_of(name)
    if "@" in name or ("@" in value and key not in _MAY_HOLD_AT):
        raise _problem(f"an unescaped '?' in the user name or password, or '@' in an option; {_ESCAPE_HINT}")
    raw = key in {"authmechanismproperties", "readpreferencetags"}
    return name, value if raw else unquote_plus(value)
