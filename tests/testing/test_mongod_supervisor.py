"""What is left when the owner of a server goes, in every way it can go. The owners are real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from async_mongo_pool.testing import Mongod, ServerNotOwnedError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
# Starts a server, says where it is, and lives until its input ends.
OWNER = """
import json, os, sys
from async_mongo_pool.testing import Mongod
mongod = Mongod().start()
{more}
print(json.dumps([mongod.pid, str(mongod.directory), mongod.port, {extra}]), flush=True)
sys.stdin.read()
"""


@dataclass
class Owner:
    process: subprocess.Popen[str]
    mongod: psutil.Process
    directory: Path
    port: int
    extra: int

    def everything_is_gone(self) -> bool:
        running = self.mongod.is_running() and self.mongod.status() != psutil.STATUS_ZOMBIE
        return not running and not self.directory.exists()


def start_owner(directory: Path, more: str = "", extra: str = "0") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OWNER.format(more=more, extra=extra)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def read_owner(process: subprocess.Popen[str]) -> Owner:
    assert process.stdout is not None
    pid, directory, port, extra = json.loads(process.stdout.readline())
    return Owner(process, psutil.Process(pid), Path(directory), port, extra)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    with process:
        try:
            yield
        finally:
            process.kill()


@contextmanager
def owner_of_a_server(directory: Path, more: str = "", extra: str = "0") -> Iterator[Owner]:
    process = start_owner(directory, more, extra)
    with ended(process):
        yield read_owner(process)


@pytest.mark.parametrize("suspended", [False, True], ids=["running", "suspended"])
def test_a_killed_owner_leaves_neither_mongod_nor_directory(tmp_path: Path, suspended: bool) -> None:
    with owner_of_a_server(tmp_path, more="mongod.suspend()" if suspended else "") as owner:
        assert not owner.everything_is_gone()
        owner.process.kill()
        wait_until(owner.everything_is_gone, 10.0, "mongod and its directory to go")
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_that_holds_the_pipe_does_not_keep_the_server(tmp_path: Path) -> None:
    fork = "import signal\nchild = os.fork()\nif child == 0:\n    signal.pause()"
    with owner_of_a_server(tmp_path, more=fork, extra="child") as owner:
        child = psutil.Process(owner.extra)
        owner.process.kill()
        try:
            wait_until(owner.everything_is_gone, 10.0, "mongod and its directory to go")
            assert child.is_running()
        finally:
            child.kill()


def test_a_forked_child_ends_nothing(tmp_path: Path) -> None:
    fork = """
child = os.fork()
if child == 0:
    mongod.stop()
    os._exit(0)
os.waitpid(child, 0)
"""
    with owner_of_a_server(tmp_path, more=fork) as owner:
        assert owner.mongod.is_running()
        assert owner.directory.exists()


def test_an_owner_that_ends_without_stopping_leaves_nothing(tmp_path: Path) -> None:
    with owner_of_a_server(tmp_path) as owner:
        assert owner.process.stdin is not None
        owner.process.stdin.close()
        wait_until(owner.everything_is_gone, 10.0, "mongod and its directory to go")


def test_ctrl_c_does_not_reach_mongod_before_its_owner(tmp_path: Path) -> None:
    ignore = "import signal\nsignal.signal(signal.SIGINT, lambda *_: print('interrupted', flush=True))"
    with owner_of_a_server(tmp_path, more=ignore) as owner:
        os.killpg(owner.process.pid, signal.SIGINT)
        assert owner.process.stdout is not None
        assert owner.process.stdout.readline() == "interrupted\n"
        assert os.getpgid(owner.mongod.pid) != owner.process.pid
        assert owner.mongod.is_running()


def supervisor_of(mongod: Mongod) -> psutil.Process:
    supervisor = psutil.Process(mongod.pid).parent()
    assert supervisor is not None
    return supervisor


def test_a_supervisor_that_is_asked_to_end_cleans_up() -> None:
    with Mongod() as mongod:
        process, directory = psutil.Process(mongod.pid), mongod.directory
        supervisor_of(mongod).terminate()
        wait_until(lambda: not process.is_running() and not directory.exists(), message="mongod to go")


def test_a_server_whose_supervisor_was_killed_can_still_be_stopped() -> None:
    with Mongod() as mongod:
        process, directory = psutil.Process(mongod.pid), mongod.directory
        supervisor_of(mongod).kill()
    wait_until(lambda: not process.is_running(), message="mongod to go")
    assert not directory.exists()


def test_only_the_owner_decides_over_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with Mongod() as mongod:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 1)
            for action in (mongod.kill, mongod.suspend, mongod.resume, mongod.restart):
                with pytest.raises(ServerNotOwnedError, match="belongs to process"):
                    action()
        assert mongod.connection_count() > 0


def test_eight_processes_that_start_servers_at_once_never_collide(tmp_path: Path) -> None:
    processes = [start_owner(tmp_path) for _ in range(8)]
    try:
        owners = [read_owner(process) for process in processes]
        assert len({owner.port for owner in owners}) == 8
        assert len({owner.directory for owner in owners}) == 8
    finally:
        for process in processes:
            with process:
                process.kill()
    wait_until(lambda: all(owner.everything_is_gone() for owner in owners), 15.0, "all servers to go")
