from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError, ServerSelectionTimeoutError

from async_mongo_pool.testing import Mongod, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Client = MongoClient[dict[str, Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[Mongod]:
    with Mongod() as mongod:
        yield mongod


def test_it_runs_where_it_says(server: Mongod) -> None:
    process = psutil.Process(server.pid)
    assert process.name() == "mongod"
    assert str(server.directory / "data") in process.cmdline()
    assert server.uri == f"mongodb://127.0.0.1:{server.port}/"
    with server.client() as client:
        assert client.admin.command("ping")["ok"] == 1


def test_starting_a_running_server_changes_nothing(server: Mongod) -> None:
    pid = server.pid
    assert server.start() is server
    assert server.pid == pid


def test_two_servers_at_once(server: Mongod) -> None:
    with Mongod() as other:
        assert other.port != server.port
        assert other.directory != server.directory
        with server.client() as mine, other.client() as theirs:
            mine.shop.orders.insert_one({})
            assert theirs.shop.orders.count_documents({}) == 0


def test_stop_leaves_nothing_and_can_be_repeated() -> None:
    with Mongod() as mongod:
        pid, directory = mongod.pid, mongod.directory
    assert not psutil.pid_exists(pid)
    assert not directory.exists()
    mongod.stop()
    with pytest.raises(ServerError, match="not started"):
        mongod.kill()


def test_it_can_be_started_again_after_stop() -> None:
    mongod = Mongod()
    for _ in range(2):
        with mongod:
            assert mongod.connection_count() > 0


def test_restart_keeps_the_port_and_the_data(server: Mongod) -> None:
    port, pid = server.port, server.pid
    with server.client() as client:
        client.shop.restarts.insert_one({"_id": pid})
    server.restart()
    assert server.port == port
    assert server.pid != pid
    with server.client() as client:
        assert client.shop.restarts.find_one({"_id": pid}) is not None


def test_a_killed_server_is_gone_until_it_is_restarted(server: Mongod) -> None:
    pid = server.pid
    server.kill()
    assert not psutil.pid_exists(pid)
    assert server.directory.exists()
    with pytest.raises(ServerError, match="does not run"):
        server.suspend()
    server.restart()
    assert server.connection_count() > 0


def test_a_suspended_server_answers_when_it_is_resumed(server: Mongod) -> None:
    with Client(server.uri, socketTimeoutMS=300, retryReads=False) as client:
        client.admin.command("ping")
        server.suspend()
        try:
            assert psutil.Process(server.pid).status() == psutil.STATUS_STOPPED
            with pytest.raises(PyMongoError):
                client.admin.command("ping")
        finally:
            server.resume()
        assert client.admin.command("ping")["ok"] == 1


def test_a_suspended_server_can_be_stopped_and_restarted() -> None:
    with Mongod() as mongod:
        mongod.suspend()
        mongod.restart()
        mongod.suspend()
        pid = mongod.pid
    assert not psutil.pid_exists(pid)


def test_the_connections_of_an_application_are_seen(server: Mongod) -> None:
    assert server.connections("shop-under-test") == []
    with Client(server.uri, appname="shop-under-test", serverMonitoringMode="poll") as client:
        client.admin.command("ping")
        # The monitor's and the one of the command.
        assert len(server.connections("shop-under-test")) == 2
        assert len(server.connections()) >= 3
        assert server.connection_count() >= 3


def test_a_fail_point_lasts_as_long_as_its_block(server: Mongod) -> None:
    data = {"failCommands": ["find"], "errorCode": 2, "appName": "fails"}
    with Client(server.uri, appname="fails", retryReads=False) as client:
        refusal = pytest.raises(OperationFailure, match="failpoint")
        with server.fail_point("failCommand", "alwaysOn", data), refusal:
            client.shop.untouched.find_one()
        assert client.shop.untouched.find_one() is None


@pytest.mark.parametrize("failure", [{"closeConnection": True}, {"errorCode": 2}], ids=["closes", "refuses"])
def test_a_fail_point_that_breaks_the_handshake_can_be_ended(server: Mongod, failure: dict[str, object]) -> None:
    data = {"failCommands": ["hello", "isMaster", "ismaster"], **failure}
    refusal = pytest.raises(ServerSelectionTimeoutError)
    with server.fail_point("failCommand", data=data), server.client(0.7) as client, refusal:
        client.admin.command("ping")
    assert server.connection_count() > 0


def test_a_refused_fail_point_says_so(server: Mongod) -> None:
    refusal = pytest.raises(ServerError, match="the fail point nothingOfTheKind")
    with refusal, server.fail_point("nothingOfTheKind"):
        pytest.fail("the block was entered")


def test_the_log_is_kept_when_asked(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with Mongod(keep_logs_in=logs) as mongod:
        kept = logs / f"mongod-{mongod.port}.log"
        assert not kept.exists()
    assert "Waiting for connections" in kept.read_text()


def test_a_server_that_cannot_start_shows_its_log_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ServerError, match="exit code") as caught:
        Mongod(arguments=["--noSuchArgument"]).start()
    assert "noSuchArgument" in str(caught.value)
    assert "waited 30 s in vain for mongod to accept connections" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_binary_that_cannot_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="cannot be run"):
        Mongod(binary=tmp_path / "mongod").start()


def test_a_slow_start_is_bounded(tmp_path: Path) -> None:
    binary = tmp_path / "mongod"
    binary.write_text("#!/bin/sh\necho starting slowly\nexec sleep 60\n")
    binary.chmod(0o755)
    with pytest.raises(ServerError, match=r"waited 0\.3 s in vain") as caught:
        Mongod(binary=binary, start_timeout=0.3).start()
    assert "starting slowly" in str(caught.value)


def test_a_server_that_was_not_started_says_so() -> None:
    mongod = Mongod()
    with pytest.raises(ServerError, match="no port"):
        _ = mongod.uri
    with pytest.raises(ServerError, match="not started"):
        _ = mongod.pid
    assert repr(mongod) == "<Mongod stopped>"
