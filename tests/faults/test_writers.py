"""The writers of the laboratory notice what never returns."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from .laboratory.contestants import BACKENDS, Contestant
from .laboratory.writers import Writers
from .proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("backend", BACKENDS)
def test_writes_that_do_not_return_are_counted(backend: str, mongod: Any, wait_until: Callable[..., None]) -> None:
    before = set(threading.enumerate())
    with FaultProxy((mongod.host, mongod.port)) as proxy:
        writers = Writers(Contestant(backend, "ours"), proxy.uri, "hanging", number=3, patience=0.3)
        writers.start()
        wait_until(lambda: all(each.acknowledged for each in writers.accounts))
        proxy.blackhole()
        wait_until(lambda: time.monotonic() - writers.latest > 0.5)
        writers.stop()
        assert writers.hanging == 3
        wait_until(lambda: set(threading.enumerate()) - before <= {proxy._thread})
    with mongod.client() as client:
        client.drop_database("laboratory")
