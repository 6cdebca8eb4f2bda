"""A package that an exporter needs and that is not installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MissingExtraError", "needs"]


class MissingExtraError(ImportError):
    """An optional package is not installed; the message says what to install."""

    @classmethod
    def of(cls, package: str, install: str) -> MissingExtraError:
        """Name the package that is missing and the argument for ``pip install`` that brings it."""
        return cls(f'{package} is not installed: pip install "{install}"', name=package)


@contextmanager
def needs(package: str, install: str) -> Iterator[None]:
    """Say what to install when an import in the block fails for want of ``package``.

    Args:
        package: The top-level module that the block imports.
        install: The argument for ``pip install``.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not _is_within(error.name or "", package):
            raise
        raise MissingExtraError.of(package, install) from error


def _is_within(module: str, package: str) -> bool:
    # "opentelemetry" is a namespace that several distributions share: a part of it may be what is missing.
    return module == package or module.startswith(f"{package}.") or package.startswith(f"{module}.")
