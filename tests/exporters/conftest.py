from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def no_pool_of_an_earlier_test() -> None:
    """Pools are classes, which only the garbage collector frees, and until then they keep their labels."""
    gc.collect()
