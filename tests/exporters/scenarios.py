"""What one process writes into PROMETHEUS_MULTIPROC_DIR, with pools that say what they are told to.

Each function is a scenario for a process of its own, because prometheus_client looks at the environment once.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.multiprocess import MultiProcessCollector

from async_mongo_pool.exporters.prometheus import multiprocess

from .scraping import samples, value
from .snapshots import ADDRESS, distribution, pool_of, server, snapshot

if TYPE_CHECKING:
    from .scraping import Samples

HERE = {"pool": "orders", "server": ADDRESS}
CREATED = "mongo_pool_connections_created_total"
WAITS = "mongo_pool_checkout_wait_seconds_count"
NEVER = 3600.0


def scrape() -> Samples:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return samples(registry)


def counts_are_written_once() -> None:
    orders = pool_of(snapshot())
    for _ in range(3):
        multiprocess.start(orders, interval=NEVER)
        multiprocess.flush()
        multiprocess.stop()
    found = scrape()
    assert value(found, CREATED, **HERE) == 9
    assert value(found, WAITS, **HERE) == 4
    assert value(found, "mongo_pool_connections", **HERE, state="used") == 0
    assert value(found, "mongo_pool_ready", **HERE) == 1


def another_client_adds_to_the_counts() -> None:
    orders = pool_of(snapshot())
    multiprocess.start(orders, interval=NEVER)
    orders.now = snapshot("orders", server(connections_created=2), replacements=2)
    multiprocess.flush()
    assert value(scrape(), CREATED, **HERE) == 11
    assert value(scrape(), WAITS, **HERE) == 8
    assert value(scrape(), "mongo_pool_replacements_total", pool="orders") == 2


def corrected_counts_never_fall() -> None:
    orders = pool_of(snapshot())
    multiprocess.start(orders, interval=NEVER)
    for created, expected in ((7, 9), (8, 9), (10, 10)):
        corrected = server(connections_created=created, checkout_wait=distribution(20.0))
        orders.now = snapshot("orders", corrected, opened_at=orders.now.opened_at)
        multiprocess.flush()
        assert value(scrape(), CREATED, **HERE) == expected
        assert value(scrape(), WAITS, **HERE) == 4


def a_closed_pool_says_nothing() -> None:
    orders = pool_of(snapshot("orders", server(state="paused")))
    multiprocess.start(orders, interval=NEVER)
    assert value(scrape(), "mongo_pool_ready", **HERE) == 0
    assert value(scrape(), "mongo_pool_oldest_use_seconds", **HERE) == 1.5
    orders.now = snapshot("orders", status="not_initialized")
    multiprocess.flush()
    found = scrape()
    assert value(found, "mongo_pool_ready", **HERE) == 1
    assert value(found, "mongo_pool_oldest_use_seconds", **HERE) == 0
    assert value(found, "mongo_pool_max_connections", **HERE) == 0
    assert value(found, CREATED, **HERE) == 9


def it_writes_by_itself_and_stops() -> None:
    orders = pool_of(snapshot())
    multiprocess.start(orders, interval=0.01)
    multiprocess.start(orders, interval=0.02)
    orders.now = snapshot("orders", server(connections_created=20), opened_at=orders.now.opened_at)
    limit = time.monotonic() + 10
    while value(scrape(), CREATED, **HERE) != 20:
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert [thread.name for thread in threading.enumerate()].count("async_mongo_pool.prometheus") == 1
    multiprocess.stop()
    assert threading.enumerate() == [threading.main_thread()]


def a_missing_directory_is_survived() -> None:
    orders = pool_of(snapshot())
    directory = os.environ["PROMETHEUS_MULTIPROC_DIR"]
    shutil.rmtree(directory)
    multiprocess.start(orders, interval=NEVER)
    os.mkdir(directory)
    multiprocess.flush()
    assert value(scrape(), CREATED, **HERE) == 9
    assert value(scrape(), WAITS, **HERE) == 4


def forks_meet_no_lock_and_start_from_nothing() -> None:
    orders = pool_of(snapshot("orders", *(server(f"db{number}.example:27017") for number in range(20))))
    multiprocess.start(orders, interval=0.0001)
    other = Gauge("somebody_else", "Of the application.", multiprocess_mode="livesum")
    for _ in range(40):
        pid = os.fork()
        if pid == 0:
            # An inherited lock that nobody frees would be met here.
            other.inc()
            own = server("db0.example:27017", connections_created=1)
            orders.now = snapshot("orders", own, replacements=0)
            multiprocess.start(orders, interval=NEVER)
            multiprocess.stop()
            os._exit(0)
        limit = time.monotonic() + 10
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > limit:
                os.kill(pid, signal.SIGKILL)
                raise AssertionError("the child hangs")
            time.sleep(0.001)
    multiprocess.flush()
    found = scrape()
    here = {"pool": "orders", "server": "db0.example:27017"}
    assert value(found, "somebody_else") == 40
    assert value(found, CREATED, **here) == 9 + 40, "the parent's counts are not the children's"
    assert value(found, "mongo_pool_replacements_total", pool="orders") == 1
    assert value(found, "mongo_pool_max_connections", **here) == 10
    assert value(found, "mongo_pool_ready", **here) == 1


def another_naming_is_refused_while_it_runs() -> None:
    orders = pool_of(snapshot())
    multiprocess.start(orders, naming="otel", interval=NEVER)
    attributes = {
        "db_client_connection_pool_name": f"orders@{ADDRESS}",
        "db_system_name": "mongodb",
        "server_address": "db.example",
        "server_port": "27017",
    }
    assert value(scrape(), "mongodb_client_connection_created_total", **attributes) == 9
    for arguments in ({"naming": "mongo_pool"}, {"interval": 0}, {"interval": float("inf")}):
        try:
            multiprocess.start(orders, **{"naming": "otel", **arguments})  # type: ignore[arg-type]
        except ValueError:
            continue
        raise AssertionError(arguments)


def the_last_counts_are_written_at_exit() -> None:
    orders = pool_of(snapshot())
    multiprocess.start(orders, interval=NEVER)
    # What holds it is the module's own namespace, which the interpreter clears only after the exit's callbacks.
    globals()["kept"] = orders
    orders.now = snapshot("orders", server(connections_created=20), opened_at=orders.now.opened_at)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
