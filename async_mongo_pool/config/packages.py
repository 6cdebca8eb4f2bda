"""Packages that a mechanism needs and that do not come with the driver."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

from async_mongo_pool.errors import PoolConfigurationError

if TYPE_CHECKING:
    from async_mongo_pool.config.settings import ClientSettings

__all__ = ["require_packages"]

_MODULES = {
    "MONGODB-AWS": ("pymongo_auth_aws", "pymongo[aws]"),
    "GSSAPI": ("winkerberos" if sys.platform == "win32" else "kerberos", "pymongo[gssapi]"),
}


def require_packages(settings: ClientSettings) -> None:
    """Refuse a mechanism whose package is not installed: the driver would find out with its first connection.

    Args:
        settings: What is to be opened.

    Raises:
        PoolConfigurationError: It names what to install.
    """
    mechanism = settings.value("authMechanism")
    module, extra = _MODULES.get(mechanism, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise PoolConfigurationError(
            f'authMechanism={mechanism} needs a package that is not installed: pip install "{extra}".'
        )
