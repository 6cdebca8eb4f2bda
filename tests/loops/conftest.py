from __future__ import annotations

from tests.pools.conftest import async_subject

__all__ = ["async_subject"]
