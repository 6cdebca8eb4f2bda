"""Several processes in one scrape: forked workers with a pool each, merged by prometheus_client itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from async_mongo_pool.distribution import BOUNDS
from async_mongo_pool.testing.waiting import wait_until

from .scraping import samples, value
from .snapshots import ADDRESS
from .test_prometheus_live import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from async_mongo_pool.testing.server import Server

    from .scraping import Samples

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

ROOT = Path(__file__).parents[2]
POOL = "MongoDBConnectionPool"
MAX_SIZE = 10


class Master:
    """The parent of the workers."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self._process = process
        self._directory = directory

    def report(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the parent has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def scrape(self) -> Samples:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._directory))  # type: ignore[no-untyped-call]
        return samples(registry)


@contextmanager
def workers(uri: str, directory: Path, *operations: int) -> Iterator[Master]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.exporters.workers", uri, *map(str, operations)],
        cwd=ROOT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            yield Master(process, directory)
            Master(process, directory).tell("end")
            assert process.wait(20) == 0
    finally:
        process.kill()


def test_the_scrape_adds_up_the_workers(mongod: Server, tmp_path: Path) -> None:
    labels = {"pool": POOL, "server": address(mongod)}
    with workers(mongod.uri, tmp_path, 20, 30) as master:
        reports = [master.report(), master.report()]
        name = "mongo_pool_checkout_wait_seconds"
        expected = sum(each["checkouts"] for each in reports)
        wait_until(lambda: value(master.scrape(), f"{name}_count", **labels) == expected)
        wait_until(lambda: value(master.scrape(), "mongo_pool_drift", pool=POOL) == 0)
        found = master.scrape()
        reached = 0
        for index, bound in enumerate((*map(str, BOUNDS), "+Inf")):
            reached += sum(each["buckets"][index] for each in reports)
            assert value(found, f"{name}_bucket", **labels, le=bound) == reached
        assert value(found, f"{name}_sum", **labels) == pytest.approx(sum(each["seconds"] for each in reports))
        size = sum(value(found, "mongo_pool_connections", **labels, state=each) or 0 for each in ("used", "idle"))
        assert size == sum(each["size"] for each in reports)
        assert value(found, "mongo_pool_max_connections", **labels) == 2 * MAX_SIZE
        assert value(found, "mongo_pool_ready", **labels) == 1
        assert value(found, "mongo_pool_connections_created_total", **labels) == size
        for each in reports:
            assert each["threads"].count("async_mongo_pool.prometheus") == 1


def test_the_gauges_of_a_dead_worker_go_and_its_counts_stay(mongod: Server, tmp_path: Path) -> None:
    labels = {"pool": POOL, "server": address(mongod)}
    with workers(mongod.uri, tmp_path, 5, 7) as master:
        reports = [master.report(), master.report()]
        expected = sum(each["checkouts"] for each in reports)
        name = "mongo_pool_checkout_wait_seconds_count"
        wait_until(lambda: value(master.scrape(), name, **labels) == expected)
        assert value(master.scrape(), "mongo_pool_max_connections", **labels) == 2 * MAX_SIZE
        master.tell("kill 0")
        assert master.report()["gone"] in {each["pid"] for each in reports}
        found = master.scrape()
        assert value(found, "mongo_pool_max_connections", **labels) == MAX_SIZE
        assert value(found, name, **labels) == expected


def test_a_worker_that_leaves_flushes_its_counts_and_its_gauges_say_nothing(
    mongod: Server, tmp_path: Path
) -> None:
    labels = {"pool": POOL, "server": address(mongod)}
    with workers(mongod.uri, tmp_path, 5, 7) as master:
        reports = [master.report(), master.report()]
        master.tell("leave 1")
        master.report()
        wait_until(lambda: value(master.scrape(), "mongo_pool_max_connections", **labels) == MAX_SIZE)
        found = master.scrape()
        assert value(found, "mongo_pool_ready", **labels) == 1
        expected = sum(each["checkouts"] for each in reports)
        assert (value(found, "mongo_pool_checkout_wait_seconds_count", **labels) or 0) >= expected


@pytest.mark.parametrize(
    "scenario",
    [
        "counts_are_written_once",
        "another_client_adds_to_the_counts",
        "corrected_counts_never_fall",
        "a_closed_pool_says_nothing",
        "it_writes_by_itself_and_stops",
        "a_missing_directory_is_survived",
        "forks_meet_no_lock_and_start_from_nothing",
        "another_naming_is_refused_while_it_runs",
    ],
)
def test_one_process_writes_rightly(scenario: str, tmp_path: Path) -> None:
    run(scenario, tmp_path)


def test_the_last_counts_are_written_at_exit(tmp_path: Path) -> None:
    run("the_last_counts_are_written_at_exit", tmp_path)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(tmp_path))  # type: ignore[no-untyped-call]
    found = samples(registry)
    here = {"pool": "orders", "server": ADDRESS}
    assert value(found, "mongo_pool_connections_created_total", **here) == 20
    assert value(found, "mongo_pool_connections", **here, state="used") == 0


def run(scenario: str, tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.exporters.scenarios", scenario],
        cwd=ROOT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("Traceback") == (scenario == "a_missing_directory_is_survived")
