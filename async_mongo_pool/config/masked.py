"""Option mappings that show no secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from async_mongo_pool.config.options import is_secret, is_unknown, key_of, masked_value
from async_mongo_pool.config.redaction import MASK, Secret
from async_mongo_pool.config.vocabulary import HOLDS_SECRETS

__all__ = ["MaskedOptions", "wrapped_options", "wrapped_password", "wrapped_unknown_options", "wrapped_value"]


class MaskedOptions(Mapping[str, Any]):
    """A read-only mapping of options, shown and logged without secrets; it does not pickle."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = Secret(dict(values))

    def __getitem__(self, name: str) -> Any:
        return self._values.reveal()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values.reveal())

    def __len__(self) -> int:
        return len(self._values.reveal())

    def __repr__(self) -> str:
        return repr({name: _shown(key_of(str(name)), value) for name, value in self.items()})

    def __copy__(self) -> MaskedOptions:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> MaskedOptions:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("Options may hold secrets and cannot be pickled; pickle the PoolConfig.")


def _shown(key: str, value: Any) -> Any:
    # What nobody knows may be a misspelt password.
    return MASK if is_unknown(key) and not isinstance(value, Secret) else masked_value(key, value)


def wrapped_value(name: str, value: Any) -> Any:
    """Return ``value``, wrapped in a ``Secret`` if its option holds one."""
    if value is None or isinstance(value, Secret):
        return value
    key = key_of(name)
    return Secret(value) if is_secret(key) or key in HOLDS_SECRETS else value


def wrapped_password(value: Any) -> Secret[str] | None:
    """Return a password argument wrapped, whatever it is."""
    return value if value is None or isinstance(value, Secret) else Secret(value)


def wrapped_options(options: Mapping[str, Any]) -> MaskedOptions:
    """Return a copy of ``options`` whose secrets are wrapped."""
    return MaskedOptions({name: wrapped_value(str(name), value) for name, value in options.items()})


def wrapped_unknown_options(options: Mapping[str, Any]) -> MaskedOptions:
    """Return the same with every option wrapped that nobody knows: it may be a misspelt password."""
    held = wrapped_options(options)
    unknown = {name for name, value in held.items() if value is not None and is_unknown(key_of(str(name)))}
    return MaskedOptions(
        {
            name: Secret(value) if name in unknown and not isinstance(value, Secret) else value
            for name, value in held.items()
        }
    )
