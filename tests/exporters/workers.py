"""A server like gunicorn in small: forks workers with a pool each, and tells the scrape when one has died.

Arguments: the connection string, then for each worker how many operations it runs. Commands on standard input:
"kill N", "leave N", "end". Every report is one line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from prometheus_client import multiprocess as client_multiprocess

from async_mongo_pool import MongoDBConnectionPool
from async_mongo_pool.exporters import prometheus

MAX_SIZE = 10


def report(**facts: Any) -> None:
    # One call, so that the workers' lines do not mix.
    os.write(1, (json.dumps(facts) + "\n").encode())


def work(uri: str, operations: int, until: int) -> None:
    """One worker: opens its pool, runs its operations, and stays until its pipe is closed."""
    prometheus.multiprocess.start(interval=0.05)
    client = MongoDBConnectionPool.initialize(uri, maxPoolSize=MAX_SIZE, minPoolSize=0)
    before = MongoDBConnectionPool.snapshot().totals
    for _ in range(operations):
        client.admin.command("ping")
    now = MongoDBConnectionPool.snapshot().totals
    assert now.checkout_wait.count - before.checkout_wait.count == operations
    # A scrape that meets a file while prometheus_client makes it fails.
    prometheus.multiprocess.flush()
    report(
        pid=os.getpid(),
        checkouts=now.checkouts,
        buckets=now.checkout_wait.buckets,
        seconds=now.checkout_wait.sum_seconds,
        size=now.size,
        threads=[thread.name for thread in threading.enumerate()],
    )
    os.read(until, 1)
    prometheus.multiprocess.flush()
    MongoDBConnectionPool.close()


def main() -> None:
    uri, *operations = sys.argv[1:]
    # The parent has a thread that writes too: children have to come out of its fork unharmed.
    prometheus.multiprocess.start(interval=0.001)
    workers: list[tuple[int, int]] = []
    for number in operations:
        until, leave = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(leave)
            for _, other in workers:
                os.close(other)
            work(uri, int(number), until)
            sys.exit(0)
        os.close(until)
        workers.append((pid, leave))
    for line in sys.stdin:
        command, _, number = line.strip().partition(" ")
        if command == "end":
            break
        pid, leave = workers[int(number)]
        if command == "kill":
            os.kill(pid, signal.SIGKILL)
        os.close(leave)
        os.waitpid(pid, 0)
        if command == "kill":
            client_multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
        report(gone=pid)


if __name__ == "__main__":
    main()
