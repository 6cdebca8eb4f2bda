"""Finding the secrets inside option values, so that they can be taken out of text later."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

from async_mongo_pool.config.options import is_secret, key_of
from async_mongo_pool.config.redaction import Secret
from async_mongo_pool.config.uri import split
from async_mongo_pool.config.vocabulary import SAFE_MECHANISM_PROPERTIES
from async_mongo_pool.errors import PoolConfigurationError

__all__ = ["secrets_in"]

# What a KMS provider's settings hold besides keys and tokens.
_SAFE_KMS = frozenset(
    {"accesskeyid", "clientid", "email", "endpoint", "identityplatformendpoint", "region", "tenantid"}
)


def secrets_in(name: str, value: Any) -> Iterator[str]:
    """Yield the secrets in an option's value, decoded.

    Args:
        name: The option, in any spelling; also a misspelt one.
        value: As the user gave it; not validated.
    """
    if isinstance(value, Secret):
        value = value.reveal()
    key = key_of(name)
    if key == "authmechanismproperties":
        yield from _in_properties(value)
    elif key == "autoencryptionopts":
        yield from _in_encryption(value)
    elif is_secret(key):
        yield from _strings(value)


def _in_properties(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        # The driver decodes, then splits at every comma: a token with a comma spills into the next name.
        for item in unquote_plus(value).split(","):
            name, _, rest = item.partition(":")
            if name.upper() not in SAFE_MECHANISM_PROPERTIES:
                yield rest or name
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if str(name).upper() not in SAFE_MECHANISM_PROPERTIES:
                yield from _strings(item)


def _in_encryption(value: Any) -> Iterator[str]:
    # Private attributes of AutoEncryptionOpts, the same in PyMongo 4.14 to 4.20; it has no public ones.
    yield from _strings(getattr(value, "_kms_providers", None))
    tls = getattr(value, "_kms_tls_options", None)
    for options in tls.values() if isinstance(tls, Mapping) else ():
        for name, item in options.items() if isinstance(options, Mapping) else ():
            yield from secrets_in(str(name), item)
    address = getattr(value, "_mongocryptd_uri", None)
    if isinstance(address, str):
        yield from _in_address(address)


def _in_address(address: str) -> Iterator[str]:
    try:
        password = split(address).password
    except PoolConfigurationError:
        yield address
    else:
        if password:
            yield password.reveal()


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (bytes, bytearray)):
        yield value.decode("latin-1")
        yield base64.b64encode(value).decode()
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if key_of(str(name)) not in _SAFE_KMS:
                yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)
